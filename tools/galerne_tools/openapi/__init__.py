"""Tools of services that OpenAPI documents describe: `offer` makes one of each operation.

    offer ─▶ document (file or URL, JSON or YAML)
          ├▶ operations ─▶ schemas (what OpenAPI writes, as Draft 7 in one piece)
          └▶ service ─▶ request (arguments to a request, pure)
                     └▶ reply   (what an answer means for who called, pure)

The document's reader is our own: the kept ones (openapi-core, prance) validate and resolve, and
refuse documents that real services publish; none writes Draft 7 for a model.
"""
