"""A SuperOffice to try the bridge on: a local server that plays SendEvent, with faults on request."""
