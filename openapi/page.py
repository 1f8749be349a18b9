"""The page that shows the OpenAPI document: Swagger UI from a CDN, pinned, and nothing else."""

import base64
import hashlib

from starlette.requests import Request
from starlette.responses import HTMLResponse

# https://swagger.io/docs/open-source-tools/swagger-ui/usage/installation/ (the package swagger-ui-dist).
SWAGGER_UI = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0/"
SCRIPT = SWAGGER_UI + "swagger-ui-bundle.js"
STYLE = SWAGGER_UI + "swagger-ui.css"
SCRIPT_HASH = "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9"
STYLE_HASH = "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I"

START = """
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""

PAGE = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Todo API</title>
<link rel="icon" href="data:,">
</head>
<body>
<div id="viewer">The viewer is not loaded. The document itself: <a href="openapi.json">openapi.json</a>.</div>
<!-- After the text: a browser shows nothing of what follows a style sheet until it is loaded. -->
<link rel="stylesheet" href="{STYLE}" integrity="{STYLE_HASH}" crossorigin="anonymous">
<script src="{SCRIPT}" integrity="{SCRIPT_HASH}" crossorigin="anonymous"></script>
<script>{START}</script>
</body>
</html>
"""

_START_HASH = base64.b64encode(hashlib.sha256(START.encode()).digest()).decode()

# Content Security Policy Level 3. `data:` is for the viewer's icons.
POLICY = "; ".join(
    [
        "default-src 'none'",
        f"script-src {SCRIPT} 'sha256-{_START_HASH}'",
        f"style-src {STYLE}",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


async def docs(_: Request) -> HTMLResponse:
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": POLICY})
