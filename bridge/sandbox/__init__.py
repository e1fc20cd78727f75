"""The sandbox: a local server that imitates SuperOffice's SendEvent, with faults on request."""
