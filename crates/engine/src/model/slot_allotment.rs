//! How slots are shared out: evenly, and moving as few as can be.

/// Gives each slot an heir, in proportion to the weights, moving as few as can be.
pub(crate) fn allot<'a, T: Copy + PartialEq + 'a>(
    heirs: impl ExactSizeIterator<Item = &'a mut Option<T>>,
    weights: &[(T, usize)],
) {
    let (slots, whole) = (heirs.len(), weights.iter().map(|(_, weight)| weight).sum());
    let share = |weight: usize| (slots * weight).checked_div(whole).unwrap_or(0);
    let mut more = slots
        - weights
            .iter()
            .map(|(_, weight)| share(*weight))
            .sum::<usize>();
    let mut room: Vec<(T, usize)> = Vec::with_capacity(weights.len());
    for (heir, weight) in weights {
        let one = usize::from(more > 0);
        more -= one;
        room.push((*heir, share(*weight) + one));
    }
    let mut homeless = Vec::new();
    for heir in heirs {
        match room
            .iter_mut()
            .find(|(it, room)| Some(*it) == *heir && *room > 0)
        {
            Some((_, room)) => *room -= 1,
            None => homeless.push(heir),
        }
    }
    for heir in homeless {
        if let Some((it, room)) = room.iter_mut().find(|(_, room)| *room > 0) {
            *heir = Some(*it);
            *room -= 1;
        }
    }
}
