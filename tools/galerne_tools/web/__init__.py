"""Reading the web and searching it: `offer` makes the tools.

    offer ─▶ reading ─▶ fetching ─▶ address (may it be asked at all?)
          │          │          ├─▶ robots (does the site allow it?)
          │          │          └─▶ body   (as much as the limit allows)
          │          └─▶ page (bytes to text) ─▶ html_text (in a process of its own)
          └─▶ search

Whatever comes back is a stranger's text: data for the model, and never an instruction.
"""
