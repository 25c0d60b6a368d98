// Uploads a file with tus-js-client, as a program in Node does: node upload.mjs ENDPOINT TOKEN FILE STORAGE CHUNK_BYTES REPLICA
//
// Says how many bytes are durable after each chunk, and in the end where the asset is. Started again with the same STORAGE,
// it goes on where it was: at REPLICA, as if a load balancer had chosen that one.
import { createReadStream } from 'node:fs'
import { createRequire } from 'node:module'

// It lies where hack/setup.sh puts it, which is the directory that the program is started in.
const tus = createRequire(`${process.cwd()}/`)('tus-js-client')

const [endpoint, token, file, storage, chunkSize, replica] = process.argv.slice(2)
const say = (line) => process.stdout.write(`${line}\n`)

const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: 'film.mp4', filetype: 'video/mp4', caption: 'Grüße' },
  chunkSize: Number(chunkSize),
  urlStorage: new tus.FileUrlStorage(storage),
  retryDelays: null,
  onChunkComplete: (_, durable) => say(durable),
  onError: (error) => {
    process.stderr.write(`${error}\n`)
    process.exitCode = 1
  },
  onSuccess: ({ lastResponse }) => say(lastResponse.getHeader('Media-Location')),
})
const [previous] = await upload.findPreviousUploads()
if (previous) {
  upload.resumeFromPreviousUpload({ ...previous, uploadUrl: new URL(new URL(previous.uploadUrl).pathname, replica).href })
}
upload.start()
