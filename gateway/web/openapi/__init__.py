"""The whole surface described: `/openapi.json`, and `/docs` for people.

`document` is made from the operations that are served; what it says of models and bounds is what
the endpoints themselves use.
"""
