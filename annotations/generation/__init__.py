"""Completions from real language models: one small interface (``interface``), two generators, one job in a worker.

``embedded`` runs transformers in the worker (a base model and its adapters); ``openai_server`` asks an
OpenAI-compatible server such as vLLM. ``queue`` puts a job into the database, ``job`` does it. torch is imported by
``embedded`` alone, and only once it generates.
"""
