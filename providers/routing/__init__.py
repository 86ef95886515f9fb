"""Retry, failover, rotation and limits: each a model provider around others."""
