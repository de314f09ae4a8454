//! Adding a route under the name by which its requests are counted.

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::MethodRouter;

use crate::context::Context;

/// The path of the route that answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route(&'static str);

impl Route {
    pub(super) fn path(self) -> &'static str {
        self.0
    }
}

/// Adds a route.
pub(super) fn add(
    router: Router<Context>,
    path: &'static str,
    methods: MethodRouter<Context>,
) -> Router<Context> {
    let name = move |mut response: Response| {
        response.extensions_mut().insert(Route(path));
        async { response }
    };
    router.route(path, methods.layer(map_response(name)))
}
