"""The target side: one WorkflowEvent out, one judged answer back. The only room that speaks to SuperOffice."""
