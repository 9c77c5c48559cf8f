"""Runs calls of boto3 for the tests: one JSON object a line in, one a line out.

A line of input names the endpoint, service, operation, parameters and botocore's
retry configuration. Bytes travel as {"$bytes": base64}, times as {"$time":
seconds since 1970}. With "environment" set, the endpoint is given by
AWS_ENDPOINT_URL, otherwise by the parameter endpoint_url. With "wait", the call is
made by the waiter of that name, at most "attempts" times.
"""

import base64
import datetime
import json
import os
import re
import sys

import boto3
import botocore
import botocore.config
import botocore.exceptions


def packed(value):
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, datetime.datetime):
        return {"$time": value.timestamp()}
    if isinstance(value, dict):
        return {k: packed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [packed(v) for v in value]
    return value


def unpacked(value):
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {k: unpacked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [unpacked(v) for v in value]
    return value


def new_client(call):
    config = botocore.config.Config(retries=call.get("retries") or None, connect_timeout=5, read_timeout=30)
    if not call["environment"]:
        return boto3.client(call["service"], endpoint_url=call["endpoint"], config=config)
    os.environ["AWS_ENDPOINT_URL"] = call["endpoint"]
    return boto3.client(call["service"], config=config)


def run(client, call):
    params = unpacked(call.get("params") or {})
    method = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", call["operation"]).lower()
    if call.get("presign"):
        return {"result": {"URL": client.generate_presigned_url(method, Params=params, ExpiresIn=60, HttpMethod="GET")}}
    if call.get("wait"):
        client.get_waiter(call["wait"]).wait(WaiterConfig={"Delay": 1, "MaxAttempts": call["attempts"]}, **params)
        return {"result": {}}
    if call.get("paginate"):
        pages = client.get_paginator(method).paginate(PaginationConfig={"PageSize": call["paginate"]}, **params)
        return {"pages": [packed({k: v for k, v in p.items() if k != "ResponseMetadata"}) for p in pages]}
    result = getattr(client, method)(**params)
    meta = result.pop("ResponseMetadata")
    return {"result": packed(result), "status": meta["HTTPStatusCode"], "requestId": meta["RequestId"], "retries": meta["RetryAttempts"]}


def refusal(error):
    response = error.response
    return {
        "refusal": {
            "type": type(error).__name__,
            "code": response["Error"].get("Code"),
            "message": response["Error"].get("Message"),
            "text": str(error),
        },
        "status": response["ResponseMetadata"]["HTTPStatusCode"],
        "requestId": response["ResponseMetadata"].get("RequestId"),
        "retries": response["ResponseMetadata"]["RetryAttempts"],
    }


def knows_materials():
    shape = boto3.client("kms").meta.service_model.operation_model("Decrypt").output_shape
    return "KeyMaterialId" in shape.members


def main():
    print(json.dumps({"boto3": boto3.__version__, "botocore": botocore.__version__, "materials": knows_materials()}), flush=True)
    clients = {}
    for line in sys.stdin:
        call = json.loads(line)
        which = json.dumps([call["endpoint"], call["service"], call.get("retries")], sort_keys=True)
        if which not in clients:
            clients[which] = new_client(call)
        try:
            reply = run(clients[which], call)
        except botocore.exceptions.ClientError as error:
            reply = refusal(error)
        except botocore.exceptions.WaiterError as error:
            reply = {"gaveUp": str(error)}
        except Exception as error:  # reported to the test, which fails
            reply = {"failure": repr(error)}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
