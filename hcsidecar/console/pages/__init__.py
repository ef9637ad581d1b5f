"""The console's pages: HTML made here from templates, and kept up to date over server-sent events.

A page is a row of a table (`table`), as a route of the API is. What it shows and does goes through the routes of the
API (`page.PageRequest.api`), so a page can do no more than the API, and roles stand in one table. Without JavaScript
the pages can be read and their forms be sent; with it they move: htmx replaces parts of them by what the server sends.
"""
