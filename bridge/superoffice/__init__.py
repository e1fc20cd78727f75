"""The SuperOffice client: sends WorkflowEvents and judges the answers."""
