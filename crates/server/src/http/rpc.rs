//! The gRPC services, at the paths that gRPC gives them.

use super::route::Routes;
use crate::context::Context;
use crate::grpc;
use crate::security::Access;

/// Where a client waits for what may come to the log.
pub(super) const WAIT: &str = "/ensue.v1.EngineService/Wait";

pub(super) fn routes(routes: Routes, context: &Context) -> Routes {
    // Each call asks for more.
    let (engine, health) = (grpc::engine(context), grpc::health(context));
    let routes = routes
        .add_service("/ensue.v1.EngineService/{method}", Access::Known, engine)
        .add_service("/grpc.health.v1.Health/{method}", Access::Public, health);
    let Some((reflection, older)) = grpc::reflection() else {
        return routes;
    };
    let path = "/grpc.reflection.v1.ServerReflection/{method}";
    let routes = routes.add_service(path, Access::Known, reflection);
    let path = "/grpc.reflection.v1alpha.ServerReflection/{method}";
    routes.add_service(path, Access::Known, older)
}
