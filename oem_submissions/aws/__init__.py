"""AWS's services behind ports: Secrets Manager and SQS. S3 and KMS are in `evidence`, clients are made in `wiring`."""
