"""The open, self-hosted server for AI chat sessions."""
