"""What several adapters use: Markdown, HTTP, Entra tokens, the pace of edits."""
