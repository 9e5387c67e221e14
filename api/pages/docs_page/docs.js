"use strict";
// validatorUrl: by default Swagger UI asks a server of its makers to check the description.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#routes", deepLinking: true, filter: true, validatorUrl: null });
