"""Documents and tokens: reading, cleaning, tokenizing, chats, shards. Never imports torch."""
