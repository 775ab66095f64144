"""Settings of the documentation site: `make docs` builds it from this folder into site/, without network.

Sphinx with MyST and the PyData theme, because all three are kept by several people and released within the last year,
pages stay plain Markdown, links to pages, anchors and functions are checked by the generator itself (nitpicky, warnings
are errors), docstrings are read where they stand, the search works from files alone, and the theme is tested for
accessibility by its authors. Material for MkDocs receives no new features and rests on MkDocs 1, which is no longer
developed; its successor Zensical is at version 0.1 and has no reader of docstrings of its own.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "seedscope"
copyright = "The seedscope authors, Apache-2.0"  # noqa: A001
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser", "sphinx_copybutton", "scripts.site"]
exclude_patterns = ["_static", "reports"]
language = "en"

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "attrs_inline"]
suppress_warnings = ["misc.highlighting_failure"]

nitpicky = True
# Types in docstrings are words for readers ("ndarray, shape (n,)"); only names of ours are links that must hold.
nitpick_ignore_regex = [("py:.*", r"(?!(kernels|models|analysis|pipeline)\.).*"), ("py:class", r"pipeline\..*")]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "seedscope"
html_static_path = ["_static"]
html_sidebars = {"gallery": [], "search": [], "tutorial": []}
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # a page opened as a file may not read other files
html_last_updated_fmt = None
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_nav_level": 1,
    "collapse_navigation": True,  # folding arrows of the side bar would have no name for a screen reader
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_prev_next": True,
    "back_to_top_button": False,
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copybutton_exclude = ".linenos, .gp, .go"
