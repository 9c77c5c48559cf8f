// Decides questions with iam-simulate. The first line that it prints has the versions; then,
// for each line of the input, a question in JSON, one line with the answer.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { runSimulation } from "@cloud-copilot/iam-simulate";

const named = (policies) => policies.map((policy, i) => ({ name: `policy${i}`, policy }));

const simulation = (q) => ({
  request: { principal: q.caller, action: q.action, resource: { resource: q.resource, accountId: q.account }, contextVariables: q.context },
  identityPolicies: named(q.identity ?? []),
  permissionBoundaryPolicies: q.boundary ? named([q.boundary]) : undefined,
  sessionPolicy: q.session,
  resourcePolicy: q.key,
  serviceControlPolicies: [],
  resourceControlPolicies: [],
});

// problem is short, so that many answers fit into a pipe.
const problem = (text) => ({ problem: String(text).slice(0, 400) });

// decide refuses to answer where a policy or a condition key was left out.
async function decide(q) {
  try {
    const answer = await runSimulation(simulation(q), {});
    if (answer.resultType !== "single") return problem(JSON.stringify(answer.errors ?? answer.resultType));
    const ignored = answer.result.ignoredContextKeys;
    return ignored.length > 0 ? problem(`ignored condition keys: ${ignored}`) : { verdict: answer.overallResult };
  } catch (err) {
    return problem(err.stack);
  }
}

const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const { version } = JSON.parse(readFileSync(new URL("node_modules/@cloud-copilot/iam-simulate/package.json", import.meta.url)));
print({ node: process.version, simulator: version });
for await (const line of createInterface({ input: process.stdin })) print(await decide(JSON.parse(line)));
