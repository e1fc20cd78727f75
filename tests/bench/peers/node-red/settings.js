// Node-RED without its editor: it serves the flow and nothing else, and logs lines of JSON as the bridge does.
function line(entry) {
    const fields = typeof entry.msg === "object" ? entry.msg : { event: String(entry.msg) };
    process.stdout.write(JSON.stringify({ ...fields, timestamp: new Date(entry.timestamp).toISOString() }) + "\n");
}

module.exports = {
    flowFile: __dirname + "/flows.json",
    uiHost: "127.0.0.1",
    uiPort: Number(process.env.PORT),
    httpAdminRoot: false,
    credentialSecret: false, // the flow keeps no credentials, so there is nothing to encrypt
    telemetry: { enabled: false, updateNotification: false },
    diagnostics: { enabled: false },
    functionExternalModules: true, // the function node needs crypto
    logging: { lines: { level: "info", metrics: false, audit: false, handler: () => line } },
};
