//! The options of `#[on]`, and those of `#[service]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, LitStr, Meta, Path};

use crate::args::{Arg, Args, Known};
use crate::duration;
use crate::errors::Errors;
use crate::names;

/// `ensue::ATTEMPTS_MAX`: a proc-macro crate cannot see it. `tests/macros.rs` holds them equal.
const ATTEMPTS_MAX: u32 = 1_000;
/// `ensue::CONCURRENCY_MAX`, likewise.
const CONCURRENCY_MAX: usize = 65_536;
/// `ensue::IN_FLIGHT_MAX`, likewise.
const IN_FLIGHT_MAX: usize = 65_536;
/// `ensue::WORKERS_MAX`, likewise.
const WORKERS_MAX: usize = 64;

const KNOWN: &[Known] = &[
    known("attempts", "attempts = 5"),
    known("backoff", r#"backoff = "200ms..30s""#),
    known("timeout", r#"timeout = "10s""#),
    known("blocking", "#[on(blocking)]"),
    known("concurrency", "concurrency = 16"),
    known("on_dead", r#"on_dead = "skip""#),
    known("topics", r#"topics = "orders.>""#),
    known("types", r#"types = ["order.created", "order.paid"]"#),
    known("publishes", "publishes = [OrderPaid, OrderRejected]"),
    known("needs", "needs = [AtomicCommit, Schedules]"),
];

/// What `#[service(…)]` knows: what its handlers have in common, and what is the service's own.
const KNOWN_OF_SERVICE: &[Known] = &[
    known("name", r#"name = "payments""#),
    known("attempts", "attempts = 5"),
    known("backoff", r#"backoff = "200ms..30s""#),
    known("timeout", r#"timeout = "10s""#),
    known("on_dead", r#"on_dead = "skip""#),
    known("start", r#"start = "latest""#),
    known("workers", "workers = 2"),
    known("in_flight_max", "in_flight_max = 1000"),
    known("concurrency", "concurrency = 16"),
];

const fn known(name: &'static str, example: &'static str) -> Known {
    Known { name, example }
}

/// What `#[service(…)]` says.
#[derive(Default)]
pub(crate) struct ServiceOptions {
    pub(crate) args: Args,
    /// Calls on `HandlerOptions`, before those of the handler itself.
    handlers: Vec<TokenStream>,
    /// Calls on `ServiceOptions`.
    settings: Vec<TokenStream>,
}

impl ServiceOptions {
    /// Reads them.
    pub(crate) fn read(arguments: TokenStream, errors: &mut Errors) -> Self {
        let args = Args::read("#[service]", arguments, KNOWN_OF_SERVICE, errors);
        let mut handlers = Options::default();
        handlers.read_common(&args, errors);
        let mut settings = Vec::new();
        let mut read = |name: &str, meaning: fn(&Arg) -> syn::Result<TokenStream>| {
            if let Some(arg) = args.get(name) {
                settings.extend(errors.keep(meaning(arg)));
            }
        };
        read("start", |arg| {
            match arg.text()?.value().as_str() {
            "earliest" => Ok(quote!(.start_at(::ensue::Start::Earliest))),
            "latest" => Ok(quote!(.start_at(::ensue::Start::Latest))),
            other => Err(arg.error(format!(
                "`start` is \"earliest\" (a new group handles all of the history) or \"latest\" (only \
                 what comes from now on), not \"{other}\""
            ))),
        }
        });
        read("workers", |arg| {
            let workers = arg.number(1..=WORKERS_MAX)?;
            Ok(quote!(.workers(#workers)))
        });
        read("in_flight_max", |arg| {
            let events = arg.number(1..=IN_FLIGHT_MAX)?;
            Ok(quote!(.in_flight_max(#events)))
        });
        read("concurrency", |arg| {
            let handlers = arg.number(1..=CONCURRENCY_MAX)?;
            Ok(quote!(.concurrency(#handlers)))
        });
        Self {
            handlers: handlers.settings,
            settings,
            args,
        }
    }

    /// The method of `Service` that gives them, if there are any.
    pub(crate) fn expand(&self) -> Option<TokenStream> {
        let settings = &self.settings;
        (!settings.is_empty()).then(|| {
            quote! {
                fn options() -> ::ensue::ServiceOptions {
                    ::ensue::ServiceOptions::new() #(#settings)*
                }
            }
        })
    }
}

/// What `#[on(…)]` says.
#[derive(Default)]
pub(crate) struct Options {
    /// Calls on `HandlerOptions`.
    settings: Vec<TokenStream>,
    /// Where `blocking` is said.
    pub(crate) blocking: Option<Span>,
    pub(crate) topics: Option<LitStr>,
    /// The event types that an envelope handler takes; none is all.
    pub(crate) types: Vec<LitStr>,
    pub(crate) publishes: Vec<Path>,
}

/// What an option means.
type Meaning = fn(&mut Options, &Arg) -> syn::Result<()>;

impl Options {
    /// Reads them.
    pub(crate) fn read(mark: &Attribute, errors: &mut Errors) -> Self {
        let tokens = match &mark.meta {
            Meta::Path(_) => TokenStream::new(),
            Meta::List(list) => list.tokens.clone(),
            Meta::NameValue(_) => {
                errors.at(
                    mark,
                    "`#[on]` takes its options in parentheses, for instance `#[on(attempts = 5)]`",
                );
                return Self::default();
            }
        };
        let args = Args::read("#[on]", tokens, KNOWN, errors);
        let mut options = Self::default();
        options.read_common(&args, errors);
        let mut read = |name, meaning| options.set(&args, name, meaning, errors);
        read("blocking", Self::set_blocking);
        read("concurrency", Self::set_concurrency);
        read("topics", Self::set_topics);
        read("types", Self::set_types);
        read("publishes", Self::set_publishes);
        read("needs", Self::set_needs);
        options
    }

    /// Reads what a service may say for all of its handlers.
    fn read_common(&mut self, args: &Args, errors: &mut Errors) {
        let mut read = |name, meaning| self.set(args, name, meaning, errors);
        read("attempts", Self::set_attempts);
        read("backoff", Self::set_backoff);
        read("timeout", Self::set_timeout);
        read("on_dead", Self::set_on_dead);
    }

    fn set(&mut self, args: &Args, name: &str, meaning: Meaning, errors: &mut Errors) {
        if let Some(arg) = args.get(name) {
            errors.keep(meaning(self, arg));
        }
    }

    fn set_attempts(&mut self, arg: &Arg) -> syn::Result<()> {
        let attempts = arg.number(1..=ATTEMPTS_MAX)?;
        self.settings.push(quote!(.attempts(#attempts)));
        Ok(())
    }

    fn set_backoff(&mut self, arg: &Arg) -> syn::Result<()> {
        let (min, max) =
            duration::parse_range(&arg.text()?.value()).map_err(|reason| arg.error(reason))?;
        let (min, max) = (duration::expression(min), duration::expression(max));
        self.settings.push(quote!(.backoff(#min, #max)));
        Ok(())
    }

    fn set_timeout(&mut self, arg: &Arg) -> syn::Result<()> {
        let timeout = duration::parse(&arg.text()?.value()).map_err(|reason| arg.error(reason))?;
        if timeout.is_zero() {
            return Err(arg.error("a timeout of zero leaves no time for the handler"));
        }
        let timeout = duration::expression(timeout);
        self.settings.push(quote!(.timeout(#timeout)));
        Ok(())
    }

    fn set_blocking(&mut self, arg: &Arg) -> syn::Result<()> {
        arg.flag()?;
        self.blocking = Some(arg.span());
        Ok(())
    }

    fn set_concurrency(&mut self, arg: &Arg) -> syn::Result<()> {
        let events = arg.number(1..=CONCURRENCY_MAX)?;
        self.settings.push(quote!(.concurrency(#events)));
        Ok(())
    }

    fn set_on_dead(&mut self, arg: &Arg) -> syn::Result<()> {
        let what = match arg.text()?.value().as_str() {
            "park" => quote!(Park),
            "skip" => quote!(Skip),
            other => {
                return Err(arg.error(format!(
                    "`on_dead` is \"park\" (later events of the key wait) or \"skip\" (they go \
                     on), not \"{other}\""
                )));
            }
        };
        self.settings.push(quote!(.on_dead(::ensue::OnDead::#what)));
        Ok(())
    }

    fn set_topics(&mut self, arg: &Arg) -> syn::Result<()> {
        let topics = arg.text()?;
        names::check_pattern(&topics.value()).map_err(|reason| arg.error(reason))?;
        self.topics = Some(topics);
        Ok(())
    }

    fn set_types(&mut self, arg: &Arg) -> syn::Result<()> {
        self.types = arg.elements("a list of types of events")?;
        for (at, name) in self.types.iter().enumerate() {
            let text = name.value();
            names::check_event(&text).map_err(|reason| syn::Error::new_spanned(name, reason))?;
            if self.types.iter().take(at).any(|other| other == name) {
                let message = format!("`{text}` is listed twice");
                return Err(syn::Error::new_spanned(name, message));
            }
        }
        Ok(())
    }

    fn set_publishes(&mut self, arg: &Arg) -> syn::Result<()> {
        self.publishes = arg.elements("a list of types of events")?;
        Ok(())
    }

    fn set_needs(&mut self, arg: &Arg) -> syn::Result<()> {
        let needs = arg.elements::<Ident>("a list of the engine's `Guarantee`s")?;
        let settings = needs
            .iter()
            .map(|need| quote!(.needs(::ensue::engine::Guarantee::#need)));
        self.settings.extend(settings);
        Ok(())
    }

    /// The expression that makes the `HandlerOptions`: what the service says, and over it what the
    /// handler says.
    pub(crate) fn expand(&self, service: &ServiceOptions) -> TokenStream {
        let settings = service.handlers.iter().chain(&self.settings);
        let topics = self.topics.as_ref().map(|topics| {
            let pattern = pattern(topics);
            quote!(.topics(#pattern))
        });
        quote! {
            <::ensue::HandlerOptions as ::core::default::Default>::default() #(#settings)* #topics
        }
    }
}

/// The expression of a `TopicPattern`.
pub(crate) fn pattern(topics: &LitStr) -> TokenStream {
    let span = topics.span().resolved_at(Span::mixed_site());
    quote_spanned!(span=> ::ensue::__private::topics(#topics))
}
