//! One `#[on]` method: what it may look like, and the handler that it becomes.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, ImplItemFn, LitStr, PathArguments, ReturnType, Signature, Type};

use super::options::{self, Options, ServiceOptions};
use super::{is_cfg, publishes};
use crate::errors::{Errors, list};

const FORM: &str = "for instance `async fn charge(&self, order: OrderCreated) -> OrderPaid`";

/// A method that is a handler.
pub(crate) struct Method {
    name: Ident,
    conditions: Vec<Attribute>,
    options: Options,
    event: Type,
    /// The parameter of the context, if there is one.
    context: Option<ContextParameter>,
    output: ReturnType,
}

/// How a method takes its context.
#[derive(Clone, Copy)]
struct ContextParameter {
    span: Span,
    is_reference: bool,
}

impl Method {
    /// Reads a method with its mark. `None` after an error.
    pub(crate) fn read(
        mark: &Attribute,
        function: &mut ImplItemFn,
        errors: &mut Errors,
    ) -> Option<Self> {
        let options = Options::read(mark, errors);
        let signature = &function.sig;
        check_signature(signature, &options, errors);
        let (event, context) = read_parameters(signature, errors)?;
        let method = Self {
            name: signature.ident.clone(),
            conditions: function
                .attrs
                .iter()
                .filter(|a| is_cfg(a))
                .cloned()
                .collect(),
            options,
            event,
            context,
            output: signature.output.clone(),
        };
        method.check_envelope(errors);
        // The form of a handler is prescribed, so lints about that form would be noise.
        function.attrs.push(syn::parse_quote! {
            #[allow(
                clippy::needless_pass_by_value,
                clippy::unused_async,
                clippy::unused_self,
                reason = "the form of a handler is prescribed"
            )]
        });
        Some(method)
    }

    fn check_envelope(&self, errors: &mut Errors) {
        let Self { options, event, .. } = self;
        if !self.takes_envelopes() {
            if let Some(first) = options.types.first() {
                errors.at(
                    first,
                    "`types` is for a handler that takes an `Envelope`: this one takes the type of \
                     its parameter",
                );
            }
            return;
        }
        if options.topics.is_none() {
            errors.at(
                event,
                "a handler that takes an `Envelope` says from where: for instance `#[on(topics = \
                 \"orders.>\")]`",
            );
        }
        if let Some(span) = options.blocking {
            errors.add(syn::Error::new(
                span,
                "a handler that takes an `Envelope` is an `async fn`; take the event's type to \
                 run on the thread pool",
            ));
        }
    }

    fn takes_envelopes(&self) -> bool {
        let Type::Path(path) = &self.event else {
            return false;
        };
        path.path.segments.last().is_some_and(|last| {
            last.ident == "Envelope" && matches!(last.arguments, PathArguments::None)
        })
    }

    /// The method's name.
    pub(crate) fn name(&self) -> &Ident {
        &self.name
    }

    /// What both methods take, if anything, and where this one says so.
    pub(crate) fn takes_also(&self, other: &Self) -> Option<(TokenStream, String)> {
        if self.event != other.event || self.conditions != other.conditions {
            return None;
        }
        if !self.takes_envelopes() {
            let event = self.event.to_token_stream();
            let text = format!("`{}`", event.to_string().replace(' ', ""));
            return Some((event, text));
        }
        let (mine, others) = (&self.options, &other.options);
        if mine.topics != others.topics {
            return None;
        }
        if mine.types.is_empty() || others.types.is_empty() {
            let text = "envelopes of these topics".to_owned();
            return Some((self.event.to_token_stream(), text));
        }
        let common = mine.types.iter().find(|name| others.types.contains(name))?;
        let text = list([common.value().as_str()]);
        Some((common.to_token_stream(), text))
    }

    /// The expressions of its handlers: one, or one for each type of an envelope handler.
    pub(crate) fn expand(&self, service: &ServiceOptions) -> Vec<TokenStream> {
        let options = self.options.expand(service);
        if !self.takes_envelopes() {
            return vec![self.expand_typed(&options)];
        }
        if self.options.types.is_empty() {
            return vec![self.expand_envelope(&options, None)];
        }
        let types = self.options.types.iter();
        types
            .map(|name| self.expand_envelope(&options, Some(name)))
            .collect()
    }

    fn expand_typed(&self, options: &TokenStream) -> TokenStream {
        let Self { event, .. } = self;
        let name = self.name.unraw().to_string();
        let (call, output) = (self.expand_call(), self.expand_output());
        // Located at the method's name: that is where a future that is not `Send` is reported.
        let handler = if self.options.blocking.is_some() {
            quote_spanned! {self.span()=>
                ::ensue::Handler::blocking::<#event, _, #output>(
                    #name,
                    #options,
                    move |event, context| #call,
                )
            }
        } else {
            quote_spanned! {self.span()=>
                ::ensue::Handler::new::<#event, _, _, #output>(
                    #name,
                    #options,
                    move |event, context| {
                        let this = ::core::clone::Clone::clone(&this);
                        async move { #call.await }
                    },
                )
            }
        };
        self.finish(&handler)
    }

    fn expand_envelope(&self, options: &TokenStream, kind: Option<&LitStr>) -> TokenStream {
        let name = self.name.unraw().to_string();
        let topics = self.options.topics.as_ref().map(options::pattern);
        let kind = match kind {
            None => quote!(::core::option::Option::None),
            Some(kind) => quote!(::core::option::Option::Some(#kind)),
        };
        let (call, output) = (self.expand_call(), self.expand_output());
        self.finish(&quote_spanned! {self.span()=>
            ::ensue::Handler::raw::<_, _, #output>(
                #name,
                #topics,
                #kind,
                #options,
                move |event, context| {
                    let this = ::core::clone::Clone::clone(&this);
                    async move { #call.await }
                },
            )
        })
    }

    fn expand_call(&self) -> TokenStream {
        let name = &self.name;
        let context = self.context.map(|parameter| {
            let span = parameter.span.resolved_at(Span::mixed_site());
            match parameter.is_reference {
                true => quote_spanned!(span=> &context),
                false => quote_spanned!(span=> context),
            }
        });
        quote_spanned!(self.span()=> this.#name(event, #context))
    }

    /// The return type, where it can be written down: errors about it then point at it.
    fn expand_output(&self) -> TokenStream {
        match &self.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, output) if has_impl(&output.to_token_stream()) => quote!(_),
            ReturnType::Type(_, output) => output.to_token_stream(),
        }
    }

    fn finish(&self, handler: &TokenStream) -> TokenStream {
        let conditions = &self.conditions;
        let publishes = self.expand_publishes();
        quote_spanned! {self.span()=>
            #(#conditions)*
            {
                let this = ::core::clone::Clone::clone(&self);
                #handler #publishes
            }
        }
    }

    fn expand_publishes(&self) -> Option<TokenStream> {
        let returned = publishes::collect(&self.output).into_iter().map(|output| {
            quote! {{
                #[allow(unused_imports, reason = "needed only where the type is not an event")]
                use ::ensue::__private::NoEventType as _;
                <::ensue::__private::EventType<#output>>::TYPE
            }}
        });
        let declared =
            self.options.publishes.iter().map(
                |event| quote!(::core::option::Option::Some(<#event as ::ensue::Event>::TYPE)),
            );
        let names: Vec<TokenStream> = returned.chain(declared).collect();
        (!names.is_empty()).then(|| {
            quote!(.publishes(const { &::ensue::__private::Names::new([#(#names),*]) }.as_slice()))
        })
    }

    fn span(&self) -> Span {
        self.name.span().resolved_at(Span::mixed_site())
    }
}

fn check_signature(signature: &Signature, options: &Options, errors: &mut Errors) {
    let name = &signature.ident;
    match (&signature.asyncness, options.blocking) {
        (None, None) => errors.at(
            signature.fn_token,
            format!(
                "the handler `{name}` is not async: make it an `async fn`, or, if it computes or \
                 blocks, say `#[on(blocking)]` to run it on the thread pool"
            ),
        ),
        (Some(token), Some(_)) => errors.at(
            token,
            format!(
                "the blocking handler `{name}` runs on the thread pool, where nothing can be \
                 awaited: make it a plain `fn`, or drop `blocking`"
            ),
        ),
        _ => {}
    }
    if !signature.generics.params.is_empty() {
        errors.at(
            &signature.generics,
            format!(
                "the handler `{name}` cannot be generic: a handler takes one type of event, {FORM}"
            ),
        );
    }
    if let Some(token) = &signature.unsafety {
        errors.at(
            token,
            "a handler cannot be unsafe: nothing checks its conditions before the call",
        );
    }
}

/// The type of the event, and how the context is taken.
fn read_parameters(
    signature: &Signature,
    errors: &mut Errors,
) -> Option<(Type, Option<ContextParameter>)> {
    let mut inputs = signature.inputs.iter();
    let has_self = match inputs.next() {
        Some(FnArg::Receiver(receiver)) => {
            check_receiver(receiver, errors);
            true
        }
        other => {
            errors.at(
                &signature.ident,
                format!("a handler is a method: its first parameter is `&self`, {FORM}"),
            );
            other.is_none()
        }
    };
    // Without `self` the parameters have moved, and what follows would only confuse.
    let mut inputs = inputs.filter(|_| has_self).filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    let event = inputs.next();
    let context = inputs.next();
    if event.is_none() && has_self {
        errors.at(
            &signature.ident,
            format!("the handler `{}` takes no event, {FORM}", signature.ident),
        );
    }
    for extra in inputs {
        errors.at(
            extra,
            "a handler takes an event and, if it wants, its `Context`; what else it needs are \
             fields of the service",
        );
    }
    let event = &event?.ty;
    if is_context(event) {
        // One mistake: what is said of the other parameters would only confuse.
        errors.at(
            event,
            format!(
                "the event comes first and the context second: `async fn {}(&self, order: \
                 OrderCreated, context: &Context)`",
                signature.ident
            ),
        );
        return None;
    }
    let context = match context {
        Some(parameter) => Some(read_context(&parameter.ty, errors)?),
        None => None,
    };
    match &**event {
        Type::Reference(reference) => {
            errors.at(
                reference,
                format!("a handler takes its event by value, not by reference: {FORM}"),
            );
            None
        }
        Type::ImplTrait(generic) => {
            errors.at(
                generic,
                "a handler takes one type of event; to take several, take an `Envelope` and say \
                 `#[on(topics = \"orders.>\")]`",
            );
            None
        }
        event => Some((event.clone(), context)),
    }
}

fn check_receiver(receiver: &syn::Receiver, errors: &mut Errors) {
    let is_shared = receiver.reference.is_some() && receiver.mutability.is_none();
    if !is_shared {
        errors.at(
            receiver,
            "a handler takes `&self`: it runs for many events at the same time; keep state in \
             the log (`Effects::set_state`) or in a field that locks (`Mutex`, atomics)",
        );
    }
}

/// Whether this is `Context` or `&Context`, by its last name.
fn is_context(parameter: &Type) -> bool {
    match parameter {
        Type::Reference(to) => to.mutability.is_none() && is_context(&to.elem),
        Type::Path(path) => {
            let last = path.path.segments.last();
            last.is_some_and(|last| last.ident == "Context" && last.arguments.is_none())
        }
        _ => false,
    }
}

/// How the context is taken. `None` after an error.
fn read_context(parameter: &Type, errors: &mut Errors) -> Option<ContextParameter> {
    let (may_be_context, is_reference) = match parameter {
        // Under whichever name it was imported.
        Type::Reference(to) => (to.mutability.is_none(), true),
        parameter => (is_context(parameter), false),
    };
    if !may_be_context {
        errors.at(
            parameter,
            "the second parameter of a handler is its context: `context: Context` or `context: \
             &Context`",
        );
        return None;
    }
    Some(ContextParameter {
        span: parameter.span(),
        is_reference,
    })
}

fn has_impl(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        proc_macro2::TokenTree::Ident(ident) => ident == "impl",
        proc_macro2::TokenTree::Group(group) => has_impl(&group.stream()),
        _ => false,
    })
}
