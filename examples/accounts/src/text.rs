//! Characters that make a text look like another.

/// Whether a character cannot be seen, or changes how those around it are seen: a name with one can look like another
/// name. Spaces and the ends of lines are not among them.
///
/// These are the controls, the format characters of Unicode (zero widths, directions of writing, joiners, tags), its
/// letters and marks without a shape, and its private and unassigned planes.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{fffe}' | '\u{ffff}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// The same in a text of several lines: ends of lines, and what joins letters and pictures, are fine there.
pub fn is_hidden_in_text(c: char) -> bool {
    is_hidden(c) && !matches!(c, '\n' | '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_told_from_what_is_seen() {
        for c in [
            '\0',
            '\u{7f}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{ad}',
            '\u{2060}',
            '\u{3164}',
            '\u{115f}',
            '\u{e0041}',
            '\u{180e}',
            '\u{2028}',
        ] {
            assert!(is_hidden(c) && is_hidden_in_text(c), "{:x}", u32::from(c));
        }
        for c in [
            'a',
            ' ',
            'Ö',
            '李',
            '\u{644}',
            '\u{301}',
            '\u{1f600}',
            '\u{3000}',
            '-',
            '\'',
        ] {
            assert!(!is_hidden(c), "{:x}", u32::from(c));
        }
        for c in ['\n', '\u{200d}', '\u{fe0f}'] {
            assert!(is_hidden(c) && !is_hidden_in_text(c), "{:x}", u32::from(c));
        }
    }
}
