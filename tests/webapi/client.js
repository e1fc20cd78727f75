// Has SuperOffice's own client do what is told on stdin, a list of jobs, and prints what came of each.
const { WebApi } = require("@superoffice/webapi");

async function outcome(call) {
  try {
    return await call;
  } catch (error) {
    return { status: error.response?.status, error: error.response?.data ?? error.message };
  }
}

async function done({ options, authorization, creators = [], blank, event, request }) {
  const api = new WebApi(options);
  for (const [method, ...credentials] of authorization) api[method](...credentials);
  const agent = api.getWorkflowAgent();
  const created = {};
  for (const [method, ...types] of creators) created[method] = await outcome(agent[method](...types));
  const carrier = Object.assign(blank ? await agent.createDefaultWorkflowEventAsync() : {}, event);
  return { created, sent: await outcome(agent.sendEventAsync(carrier, request)) };
}

async function main() {
  let text = "";
  for await (const piece of process.stdin) text += piece;
  const results = [];
  for (const job of JSON.parse(text)) results.push(await done(job));
  process.stdout.write(JSON.stringify(results));
}

main();
