// Plays the life of a load balancer through tencentcloud-sdk-nodejs and prints a line
// of JSON for each stage: {"stage": ..., ...}. At each stage it waits for a line of
// input, so that whoever reads can look at what has been made.
//
// Environment: ENDPOINT (host:port of the emulator), SECRET_ID, SECRET_KEY, TARGETS
// (JSON list of {ip, port}).
"use strict";

const http = require("node:http");
const readline = require("node:readline");
const { clb } = require("tencentcloud-sdk-nodejs");

const { ENDPOINT, SECRET_ID, SECRET_KEY, TARGETS } = process.env;
const [host, port] = ENDPOINT.split(":");
const targets = JSON.parse(TARGETS);

const client = new clb.v20180317.Client({
  credential: { secretId: SECRET_ID, secretKey: SECRET_KEY },
  region: "ap-guangzhou",
  profile: {
    httpProfile: {
      protocol: "http://",
      // The first label is the service that the SDK signs for. The name needs no
      // resolver: every one is the emulator's address.
      endpoint: `clb.localhost:${port}`,
      agent: new http.Agent({
        lookup: (_name, options, done) => (options.all ? done(null, [{ address: host, family: 4 }]) : done(null, host, 4)),
      }),
    },
  },
});

const input = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function stage(name, facts) {
  console.log(JSON.stringify({ stage: name, ...facts }));
  await input.next();
}

const pause = () => new Promise((done) => setTimeout(done, 20));

// until asks until there is an answer.
async function until(ask) {
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    await pause();
  }
}

// done waits for the end of the task that a request began.
async function done(answer) {
  await until(async () => {
    const { Status, Message } = await client.DescribeTaskStatus({ TaskId: answer.RequestId });
    if (Status === 1) throw new Error(`the task failed: ${Message}`);
    return Status === 0;
  });
  return answer;
}

async function main() {
  const created = await done(await client.CreateLoadBalancer({ LoadBalancerType: "OPEN", VpcId: "vpc-1", LoadBalancerName: "from-node" }));
  const lb = created.LoadBalancerIds[0];
  const listed = await client.DescribeLoadBalancers({ LoadBalancerIds: [lb] });
  const listener = (
    await done(
      await client.CreateListener({
        LoadBalancerId: lb,
        Ports: [80],
        Protocol: "TCP",
        ListenerNames: ["web"],
        HealthCheck: { HealthSwitch: 1, IntervalTime: 2, HealthNum: 2, UnHealthNum: 2 },
      }),
    )
  ).ListenerIds[0];

  const bound = targets.map(({ ip, port }) => ({ EniIp: ip, Port: port, Weight: 10 }));
  await done(await client.RegisterTargets({ LoadBalancerId: lb, ListenerId: listener, Targets: bound }));
  const health = await until(async () => {
    const { LoadBalancers } = await client.DescribeTargetHealth({ LoadBalancerIds: [lb] });
    const all = LoadBalancers.flatMap((b) => b.Listeners).flatMap((l) => l.Rules).flatMap((r) => r.Targets);
    return all.length === targets.length && all.every((t) => t.HealthStatus) && all;
  });
  await stage("bound", {
    lb,
    listener,
    vip: listed.LoadBalancerSet[0].LoadBalancerVips[0],
    health: health.map((t) => ({ ip: t.IP, port: t.Port, detail: t.HealthStatusDetail })),
  });

  // What the emulator refuses has to reach the SDK's error type.
  const code = await client.DeregisterTargets({ LoadBalancerId: lb, ListenerId: "lbl-nobody", Targets: bound }).then(
    () => "",
    (error) => error.code,
  );
  await done(await client.DeregisterTargets({ LoadBalancerId: lb, ListenerId: listener, Targets: bound }));
  await stage("unbound", { code });

  await done(await client.DeleteListener({ LoadBalancerId: lb, ListenerId: listener }));
  await done(await client.DeleteLoadBalancer({ LoadBalancerIds: [lb] }));
  await stage("deleted", {});
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
