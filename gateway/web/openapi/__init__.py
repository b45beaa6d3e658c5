"""The whole surface described: `/openapi.json`, and `/docs` for people.

`operation` says what an endpoint is; `clients`, `teams` and `operators` list the endpoints;
`document` puts them together. Models and bounds are those that the endpoints themselves use.
"""
