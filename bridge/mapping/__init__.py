"""Mapping: applies a source's rules to a webhook, which gives events and a Why for each rule."""
