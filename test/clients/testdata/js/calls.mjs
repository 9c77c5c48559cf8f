// Runs calls of the AWS SDK for JavaScript for the tests: one JSON object a line in,
// one a line out, in the form of calls.py. The endpoint is given by AWS_ENDPOINT_URL,
// the authority of its certificate by NODE_EXTRA_CA_CERTS, as for any program.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import * as sdk from "@aws-sdk/client-kms";

const packed = (value) => {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (value instanceof Date) return { $time: value.getTime() / 1000 };
  if (Array.isArray(value)) return value.map(packed);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, packed(member)]));
  }
  return value;
};

const unpacked = (value) => {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value === null || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, unpacked(member)]));
};

const client = (call) => {
  process.env.AWS_ENDPOINT_URL = call.endpoint;
  return new sdk.KMSClient(call.retries ?? {});
};

const run = async (kms, call) => {
  const params = unpacked(call.params ?? {});
  if (call.paginate) {
    const pages = [];
    for await (const page of sdk[`paginate${call.operation}`]({ client: kms, pageSize: call.paginate }, params)) {
      delete page.$metadata;
      pages.push(packed(page));
    }
    return { pages };
  }
  const { $metadata, ...result } = await kms.send(new sdk[`${call.operation}Command`](params));
  return { result: packed(result), ...sent($metadata) };
};

const sent = (metadata) => ({
  status: metadata.httpStatusCode,
  requestId: metadata.requestId,
  retries: metadata.attempts - 1,
});

// What the service refused has a status; what failed on the way here has none.
const refusal = (error) => {
  if (!error.$metadata?.httpStatusCode) return { failure: String(error) };
  return {
    refusal: { type: error.constructor.name, code: error.name, message: error.message, text: String(error) },
    ...sent(error.$metadata),
  };
};

const { version } = JSON.parse(readFileSync(new URL("node_modules/@aws-sdk/client-kms/package.json", import.meta.url)));
console.log(JSON.stringify({ node: process.version, sdk: version }));

const clients = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  const which = JSON.stringify([call.endpoint, call.retries]);
  if (!clients.has(which)) clients.set(which, client(call));
  const reply = await run(clients.get(which), call).catch(refusal);
  console.log(JSON.stringify(reply));
}
