// Node-RED without its editor: it serves the flow and nothing else.
module.exports = {
    flowFile: __dirname + "/flows.json",
    uiHost: "127.0.0.1",
    uiPort: Number(process.env.PORT),
    httpAdminRoot: false,
    credentialSecret: false, // the flow keeps no credentials, so there is nothing to encrypt
    telemetry: { enabled: false, updateNotification: false },
    diagnostics: { enabled: false },
    functionExternalModules: true, // the function node needs crypto
    logging: { console: { level: "warn", metrics: false, audit: false } },
};
