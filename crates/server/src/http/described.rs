//! Handlers whose arguments and answers say what they are: no other can be given to a route.

use axum::extract::State;
use axum::handler::Handler;

use crate::context::Context;
use crate::openapi::{Answer, ENGINE, Input, Operation};
use crate::security::Caller;

/// A handler that is described by its types.
pub(super) trait DescribedHandler<T>: Handler<T, Context> {
    /// Says what they mean.
    fn describe(operation: &mut Operation);
}

macro_rules! described {
    ($marker:ty $(, $last:ident $($input:ident)*)?) => {
        impl<F, Fut, A, $(M, $last, $($input,)*)?> DescribedHandler<($marker, $($($input,)* $last,)?)> for F
        where
            F: FnOnce($($($input,)* $last,)?) -> Fut + Handler<($marker, $($($input,)* $last,)?), Context>,
            Fut: Future<Output = A>,
            A: Answer,
            $($last: Input, $($input: Input,)*)?
        {
            fn describe(operation: &mut Operation) {
                $($(<$input as Input>::describe(operation);)* <$last as Input>::describe(operation);)?
                A::describe(operation);
            }
        }
    };
}

described!(());
described!(M, Last);
described!(M, Last One);
described!(M, Last One Two);
described!(M, Last One Two Three);
described!(M, Last One Two Three Four);

impl Input for Caller {
    fn describe(_: &mut Operation) {
        // The route's access says who may call.
    }
}

impl Input for State<Context> {
    fn describe(operation: &mut Operation) {
        operation.refuses(ENGINE);
    }
}
