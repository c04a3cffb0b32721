"""egisai, multi-agent context: the default, one agent per process."""

import openai

import otelier

otelier.init(app="customer-support-bot", env="production")

client = openai.OpenAI()
client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Where is my order?"}])
