#!/usr/bin/env python3
"""Print the policy of S3 that gives a component what it needs, and no more, as JSON.

policies.py BUCKET ingest|operator|transcoder|gateway [--prefix PREFIX]     for the account of a component
policies.py BUCKET anonymous [--prefix PREFIX]                      for the bucket: anyone reads what is public
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mediaasset.policies import Component, bucket_policy, identity_policy


def main() -> int:
    """Print one policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bucket")
    parser.add_argument("component", choices=list(Component), type=Component)
    parser.add_argument("--prefix", default="", help="the value s3.prefix of the chart")
    given = parser.parse_args()
    if given.component is Component.ANONYMOUS:
        policy = bucket_policy(given.bucket, given.prefix, {})
    else:
        policy = identity_policy(given.component, given.bucket, given.prefix)
    print(json.dumps(policy, indent=2))  # noqa: T201 - its output is the point
    return 0


if __name__ == "__main__":
    sys.exit(main())
