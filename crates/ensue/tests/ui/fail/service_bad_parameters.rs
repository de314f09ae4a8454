use ensue::prelude::*;

#[derive(Event, Serialize, Deserialize)]
#[event(type = "order.created", topic = "orders")]
struct OrderCreated;

struct Payments;

#[service]
impl Payments {
    #[on]
    async fn nothing(&self) {}

    #[on]
    async fn reference(&self, _: &OrderCreated) {}

    #[on]
    async fn two(&self, _: OrderCreated, _: OrderCreated) {}

    #[on]
    async fn too_many(&self, _: OrderCreated, _: &Context, _: u8) {}

    #[on]
    async fn context_first(&self, _: &Context, _: OrderCreated) {}

    #[on]
    async fn context_alone(&self, _: Context) {}

    #[on]
    async fn generic<E: Event>(&self, _: E) {}
}

fn main() {}
