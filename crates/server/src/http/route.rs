//! Adding a route: who may use it, and the name by which its requests are counted.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use tower_service::Service;

use crate::context::Context;
use crate::finished::finished;
use crate::grpc;
use crate::security::{Access, Action, Caller};

/// The path of the route that answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route(&'static str);

impl Route {
    pub(super) fn path(self) -> &'static str {
        self.0
    }
}

/// One method of a path. It cannot be made without saying who may use it.
pub(super) struct Method {
    name: &'static str,
    access: Access,
    handler: MethodRouter<Context>,
}

pub(super) fn get<H: Handler<T, Context>, T: 'static>(access: Access, handler: H) -> Method {
    Method::new("GET", access, routing::get(handler))
}

pub(super) fn post<H: Handler<T, Context>, T: 'static>(access: Access, handler: H) -> Method {
    Method::new("POST", access, routing::post(handler))
}

pub(super) fn delete<H: Handler<T, Context>, T: 'static>(access: Access, handler: H) -> Method {
    Method::new("DELETE", access, routing::delete(handler))
}

pub(super) fn options<H: Handler<T, Context>, T: 'static>(access: Access, handler: H) -> Method {
    Method::new("OPTIONS", access, routing::options(handler))
}

impl Method {
    fn new(name: &'static str, access: Access, handler: MethodRouter<Context>) -> Self {
        Self {
            name,
            access,
            handler,
        }
    }
}

/// The routes there are.
#[derive(Default)]
pub(super) struct Routes {
    router: Router<Context>,
    #[cfg(test)]
    declared: Vec<Declared>,
}

/// What a route says of itself.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) access: Access,
}

impl Routes {
    /// Adds a path and its methods.
    pub(super) fn add(
        mut self,
        path: &'static str,
        methods: impl IntoIterator<Item = Method>,
    ) -> Self {
        let mut all = MethodRouter::new();
        for method in methods {
            let (name, access) = (method.name, method.access);
            #[cfg(test)]
            self.declared.push(Declared {
                method: name,
                path,
                access,
            });
            let guard = move |caller: Caller, request: Request, next: Next| async move {
                match caller.enter(access) {
                    // The audit trail says how it ended, too.
                    Ok(()) if access == Access::May(Action::Operate) => {
                        let answered = finished(next.run(request)).await;
                        answered.unwrap_or_else(IntoResponse::into_response)
                    }
                    Ok(()) => next.run(request).await,
                    Err(problem) => {
                        tracing::debug!(caller = caller.name(), method = name, path, "refused");
                        problem.into_response()
                    }
                }
            };
            all = all.merge(method.handler.route_layer(from_fn(guard)));
        }
        let name = move |mut response: Response| {
            response.extensions_mut().insert(Route(path));
            async { response }
        };
        self.router = self.router.route(path, all.layer(map_response(name)));
        self
    }

    /// Adds the methods of a gRPC service.
    pub(super) fn add_service<S>(mut self, path: &'static str, access: Access, service: S) -> Self
    where
        S: Service<Request, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Response: IntoResponse,
        S::Future: Send + 'static,
    {
        let guard = move |caller: Caller, request: Request, next: Next| async move {
            match caller.enter(access) {
                Ok(()) => next.run(request).await,
                Err(problem) => {
                    tracing::debug!(caller = caller.name(), path, "refused");
                    grpc::refuse(&problem)
                }
            }
        };
        let name = move |mut response: Response| {
            response.extensions_mut().insert(Route(path));
            async { response }
        };
        let methods = routing::any_service(service).layer(from_fn(guard));
        self.router = self.router.route(path, methods.layer(map_response(name)));
        self
    }

    /// What answers requests.
    pub(super) fn finish(self) -> Router<Context> {
        self.router
    }

    /// What each route says of itself.
    #[cfg(test)]
    pub(super) fn declared(&self) -> &[Declared] {
        &self.declared
    }
}
