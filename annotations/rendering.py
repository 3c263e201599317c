"""What a model or a lead wrote, as HTML that can do nothing: Markdown, then a strict allow-list.

A completion is untrusted: it may try to load an image (and so tell its origin), or to look like a part of the page.
Raw HTML, images and links are shown as they were typed; nothing keeps an attribute.
"""

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

TAGS = {
    *("p", "br", "hr", "blockquote", "pre", "code", "em", "strong", "s"),
    *("ul", "ol", "li", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}

_parser = (
    MarkdownIt("commonmark", {"html": False, "linkify": False, "breaks": True})
    .enable(["table", "strikethrough"])
    .disable(["image", "link", "autolink", "reference", "html_inline", "html_block"])
)


def markdown(text: str) -> SafeString:
    """Safe HTML of ``text``. Headings start at the fourth level, below the page's own."""
    tokens = _parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 3)}"
    html = _parser.renderer.render(tokens, _parser.options, {})
    return mark_safe(nh3.clean(html, tags=TAGS, attributes={}, link_rel=None))  # noqa: S308  cleaned just here
