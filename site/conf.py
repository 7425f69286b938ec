"""Sphinx's settings for the site; `python -m tools site` brings the pages together and calls Sphinx."""

from pathlib import Path

project = "Watt It Takes"
author = "The Watt It Takes authors"
copyright = "The Watt It Takes authors. Code: Apache-2.0. Text and figures: CC BY 4.0"
root_doc = "index"
extensions = ["myst_nb"]
nb_execution_mode = "off"  # what is shown is what is stored
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

html_theme = "sphinx_book_theme"
html_title = "Watt It Takes"
html_context = {"default_mode": "auto"}
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_js_files = ["course.js", "calculators.js"]
html_search_scorer = str(Path(__file__).with_name("search.js"))
html_show_sourcelink = False
html_copy_source = False
mathjax_path = "mathjax/tex-chtml.js"  # of the package sphinx-mathjax-offline: nothing comes from the web
mathjax3_config = {"options": {"enableMenu": False}}  # the menu would ask for parts that aren't shipped
html_theme_options = {
    "repository_url": "https://github.com/watt-it-takes/watt-it-takes",
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the sidebar has the search
    "show_navbar_depth": 1,
    "show_toc_level": 2,
}
