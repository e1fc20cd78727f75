"""The HTTP ports: the public one for webhooks, the admin one for operators."""
