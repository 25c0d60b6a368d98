# The S3 server of the tests, for a cluster that has none. The context is the folder of the tool, a static binary.
FROM scratch
COPY versitygw /versitygw
USER 65532:65532
ENTRYPOINT ["/versitygw"]
