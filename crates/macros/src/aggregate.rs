//! `#[aggregate]` and the `#[apply]` methods in it.

mod options;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, ImplItem, ImplItemFn, Item, ItemImpl, ReturnType, Type};

use self::options::Options;
use crate::errors::Errors;
use crate::marker;

const FORM: &str = "for instance `#[apply] fn deposited(&mut self, event: Deposited)`";

/// A method that applies one type of event.
struct Applying {
    name: Ident,
    event: Type,
    is_reference: bool,
}

/// The block as it is without its `#[apply]`s, and the implementation of `Aggregate`.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut block = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Impl(block)) if block.trait_.is_none() => block,
        Ok(other) => {
            errors.at(
                other,
                "`#[aggregate]` goes on the `impl` block of a type, for instance `#[aggregate] impl \
                 Account { … }`: its `#[apply]` methods say what events mean to it",
            );
            let errors = errors.into_tokens();
            return quote!(#errors #item);
        }
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#error #item);
        }
    };
    let applying = take_methods(&mut block, &mut errors);
    let options = Options::read(arguments, &block.self_ty, &mut errors);
    refuse_duplicates(&applying, &options, &mut errors);
    if !block.generics.params.is_empty() {
        errors.at(
            &block.generics,
            "an aggregate has no parameters: one name stands for one type",
        );
    }
    if !errors.is_empty() {
        let errors = errors.into_tokens();
        return quote!(#errors #block);
    }
    let aggregate = implement(&block.self_ty, &options, &applying);
    quote!(#block #aggregate)
}

/// What an `#[apply]` outside an aggregate becomes.
pub(crate) fn misplaced_apply(item: TokenStream) -> TokenStream {
    let error = syn::Error::new(
        Span::call_site(),
        "`#[apply]` marks what an event means to an aggregate: put `#[aggregate]` on the `impl` block \
         around it",
    )
    .to_compile_error();
    quote!(#error #item)
}

fn take_methods(block: &mut ItemImpl, errors: &mut Errors) -> Vec<Applying> {
    let mut applying = Vec::new();
    let mut is_marked = false;
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else {
            continue;
        };
        let marks: Vec<Attribute> = function
            .attrs
            .extract_if(.., |attribute| marker::is(attribute, "apply"))
            .collect();
        let Some(mark) = marks.first() else {
            continue;
        };
        is_marked = true;
        if !matches!(mark.meta, syn::Meta::Path(_)) {
            errors.at(mark, format!("`#[apply]` has no options, {FORM}"));
        }
        applying.extend(read(function, errors));
    }
    if !is_marked {
        let aggregate = &block.self_ty;
        errors.at(
            aggregate,
            format!(
                "no event means anything to `{}`: mark at least one method with `#[apply]`, {FORM}",
                aggregate.to_token_stream()
            ),
        );
    }
    applying
}

/// Reads a marked method. `None` after an error.
fn read(function: &mut ImplItemFn, errors: &mut Errors) -> Option<Applying> {
    let signature = &function.sig;
    let name = &signature.ident;
    if let Some(token) = &signature.asyncness {
        errors.at(
            token,
            format!("`{name}` is async: what happened is applied at once, without waiting, {FORM}"),
        );
    }
    if !signature.generics.params.is_empty() {
        errors.at(
            &signature.generics,
            format!("`{name}` is generic: it applies one type of event, {FORM}"),
        );
    }
    if let ReturnType::Type(_, output) = &signature.output
        && !is_unit(output)
    {
        errors.at(
            output,
            format!(
                "`{name}` returns something: an event has happened, and applying it can neither fail \
                 nor lead to others; what is allowed is decided before, {FORM}"
            ),
        );
    }
    let mut inputs = signature.inputs.iter();
    let receiver = match inputs.next() {
        Some(FnArg::Receiver(receiver)) => Some(receiver),
        _ => None,
    };
    let changes = receiver.is_some_and(|it| it.reference.is_some() && it.mutability.is_some());
    let event = match (inputs.next(), inputs.next()) {
        (Some(FnArg::Typed(event)), None) if changes => &event.ty,
        _ => {
            errors.at(
                name,
                format!("`{name}` takes `&mut self` and one event, {FORM}"),
            );
            return None;
        }
    };
    let (event, is_reference) = match &**event {
        Type::Reference(reference) if reference.mutability.is_none() => (&*reference.elem, true),
        event => (event, false),
    };
    let applying = Applying {
        name: name.clone(),
        event: event.clone(),
        is_reference,
    };
    // The form of such a method is prescribed, so lints about that form would be noise.
    function.attrs.push(syn::parse_quote! {
        #[allow(
            clippy::needless_pass_by_value,
            clippy::unused_self,
            clippy::trivially_copy_pass_by_ref,
            reason = "the form of a method that applies an event is prescribed"
        )]
    });
    Some(applying)
}

fn is_unit(output: &Type) -> bool {
    matches!(output, Type::Tuple(tuple) if tuple.elems.is_empty())
}

fn refuse_duplicates(applying: &[Applying], options: &Options, errors: &mut Errors) {
    for (at, one) in applying.iter().enumerate() {
        if let Some(earlier) = applying
            .iter()
            .take(at)
            .find(|other| other.event == one.event)
        {
            errors.at(
                &one.event,
                format!(
                    "`{}` applies this event already: merge the two methods",
                    earlier.name
                ),
            );
        }
        let name = one.event.to_token_stream().to_string();
        if let Some(ignored) = options
            .ignore
            .iter()
            .find(|it| it.to_token_stream().to_string() == name)
        {
            errors.at(
                ignored,
                format!(
                    "`{}` applies this event: it cannot be ignored, too",
                    one.name
                ),
            );
        }
    }
}

fn implement(aggregate: &Type, options: &Options, applying: &[Applying]) -> TokenStream {
    let settings = options.expand();
    let events: Vec<TokenStream> = applying
        .iter()
        .map(|it| it.event.to_token_stream())
        .chain(options.ignore.iter().map(ToTokens::to_token_stream))
        .collect();
    let Some(first) = events.first() else {
        return TokenStream::new();
    };
    let checks = events.iter().map(|event| check(event, first));
    let applied = applying.iter().map(|one| expand_apply(aggregate, one));
    quote_spanned! {Span::mixed_site()=>
        #(#checks)*

        #[automatically_derived]
        impl ::ensue::Aggregate for #aggregate {
            const TOPIC: &'static str = <#first as ::ensue::Event>::TOPIC;
            const EVENTS: &'static [&'static str] = &[#(<#events as ::ensue::Event>::TYPE),*];
            #settings

            fn apply_envelope(
                &mut self,
                envelope: &::ensue::Envelope,
            ) -> ::core::result::Result<(), ::ensue::DecodeError> {
                let event_type = envelope.event_type();
                #(#applied)*
                ::core::result::Result::Ok(())
            }
        }

        #(
            #[automatically_derived]
            impl ::ensue::Applies<#events> for #aggregate {}
        )*
    }
}

fn expand_apply(aggregate: &Type, one: &Applying) -> TokenStream {
    let Applying {
        name,
        event,
        is_reference,
    } = one;
    let span = name.span().resolved_at(Span::mixed_site());
    let argument = match is_reference {
        true => quote_spanned!(span=> &event),
        false => quote_spanned!(span=> event),
    };
    quote_spanned! {span=>
        if event_type == <#event as ::ensue::Event>::TYPE {
            let event = envelope.decode::<#event>()?;
            <#aggregate>::#name(self, #argument);
            return ::core::result::Result::Ok(());
        }
    }
}

/// That an event is one of the stream of the aggregate.
fn check(event: &TokenStream, first: &TokenStream) -> TokenStream {
    let shown = event.to_string().replace(' ', "");
    let of_first = first.to_string().replace(' ', "");
    let elsewhere = format!(
        "`{shown}` and `{of_first}` are of different topics: the events of an aggregate are those of one \
         key in one topic"
    );
    let pattern = format!(
        "the topic of `{shown}` depends on its fields: the events of an aggregate are those of one key in \
         one topic"
    );
    let span = event.span().resolved_at(Span::mixed_site());
    quote_spanned! {span=>
        const _: () = {
            ::core::assert!(
                ::ensue::__private::is_one_topic(<#event as ::ensue::Event>::TOPIC),
                #pattern
            );
            ::core::assert!(
                ::ensue::__private::is_same(
                    <#event as ::ensue::Event>::TOPIC,
                    <#first as ::ensue::Event>::TOPIC,
                ),
                #elsewhere
            );
        };
    }
}
