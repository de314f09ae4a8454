//! Adding a route: who may use it, what it is for, and the name by which its requests are counted.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};
use tower_service::Service;

use super::described::DescribedHandler;
use crate::context::Context;
use crate::finished::finished;
use crate::grpc;
use crate::openapi::{About, Described, Operation, Tag};
use crate::security::{Access, Action, Caller};

/// The path of the route that answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route(&'static str);

impl Route {
    pub(super) fn path(self) -> &'static str {
        self.0
    }
}

/// One method of a path. It cannot be made without saying who may use it and what it is for, nor of a handler whose
/// types do not say what they mean to clients.
pub(super) struct Method {
    name: &'static str,
    access: Access,
    about: About,
    types: fn(&mut Operation),
    handler: MethodRouter<Context>,
}

macro_rules! methods {
    ($($function:ident $name:literal;)+) => {
        $(
            pub(super) fn $function<H, T>(access: Access, about: About, handler: H) -> Method
            where
                H: DescribedHandler<T>,
                T: 'static,
            {
                Method {
                    name: $name,
                    access,
                    about,
                    types: H::describe,
                    handler: routing::$function(handler),
                }
            }
        )+
    };
}

methods! {
    get "GET";
    post "POST";
    delete "DELETE";
    options "OPTIONS";
}

/// What routes have to do with unless they say something else.
pub(super) const SERVER: Tag = Tag {
    name: "server",
    what: "The server itself: what goes on in it, and what it can do.",
};

/// The routes there are.
pub(super) struct Routes {
    router: Router<Context>,
    tag: Tag,
    described: Vec<Described>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            router: Router::new(),
            tag: SERVER,
            described: Vec::new(),
        }
    }
}

impl Routes {
    /// What the routes have to do with that are added after this.
    pub(super) fn tag(self, tag: Tag) -> Self {
        Self { tag, ..self }
    }

    /// Adds a path and its methods.
    pub(super) fn add(
        mut self,
        path: &'static str,
        methods: impl IntoIterator<Item = Method>,
    ) -> Self {
        let mut all = MethodRouter::new();
        for method in methods {
            let (name, access) = (method.name, method.access);
            self.described.push(Described {
                method: name,
                path,
                access,
                tag: self.tag,
                about: method.about,
                types: method.types,
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
    pub(super) fn described(&self) -> &[Described] {
        &self.described
    }
}
