//! Which clips are near copies of each other, by their names.

use crate::dataset::groups::ucf_group;
use crate::manifest::Layout;

/// The group of the clip `id` of a data set of that layout; the id where its name says nothing.
pub(crate) fn group_of(layout: Layout, id: &str) -> String {
    let (class, stem) = id.split_once('/').unwrap_or(("", id));
    let found = match layout {
        Layout::Ucf101 | Layout::Folder => ucf_group(stem),
        Layout::Hmdb51 => hmdb_movie(class, stem),
        Layout::Msvd => youtube_id(stem),
    };
    found.unwrap_or(id).to_owned()
}

/// What stands before `_<class>` and the six parts that HMDB-51 describes a clip with.
fn hmdb_movie<'a>(class: &str, stem: &'a str) -> Option<&'a str> {
    let mut rest = stem;
    let known: [fn(&str) -> bool; 6] = [
        |number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()),
        |quality| matches!(quality, "goo" | "med" | "bad"),
        |side| matches!(side, "fr" | "ba" | "le" | "ri"),
        |people| people.strip_prefix("np").is_some_and(|n| n.parse::<u8>().is_ok()),
        |camera| matches!(camera, "nm" | "cm"),
        |visible| matches!(visible, "h" | "u" | "l" | "f"),
    ];
    for is in known {
        let (before, part) = rest.rsplit_once('_')?;
        if !is(part) {
            return None;
        }
        rest = before;
    }
    let movie = rest.strip_suffix(class).and_then(|before| before.strip_suffix('_')).unwrap_or(rest);
    (!movie.is_empty()).then_some(movie)
}

/// What stands before `_<start>_<end>`.
fn youtube_id(stem: &str) -> Option<&str> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (rest, end) = stem.rsplit_once('_')?;
    let (id, start) = rest.rsplit_once('_')?;
    (digits(end) && digits(start) && !id.is_empty()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_the_group() {
        let of = group_of;
        assert_eq!(of(Layout::Ucf101, "Diving/v_Diving_g01_c03"), "v_Diving_g01");
        assert_eq!(of(Layout::Folder, "Diving/v_Diving_g01_c03"), "v_Diving_g01");
        assert_eq!(of(Layout::Folder, "a/clip_1_2"), "a/clip_1_2");
        assert_eq!(of(Layout::Hmdb51, "wave/winKen_wave_u_cm_np1_ri_bad_2"), "winKen");
        // The same movie in another class, and a class of two words.
        assert_eq!(of(Layout::Hmdb51, "climb_stairs/winKen_climb_stairs_f_nm_np2_fr_med_10"), "winKen");
        // The class is not in front of the six parts: everything before them is the movie.
        assert_eq!(of(Layout::Hmdb51, "wave/winKen_jump_u_cm_np1_ri_bad_2"), "winKen_jump");
        assert_eq!(of(Layout::Hmdb51, "wave/holiday"), "wave/holiday");
        assert_eq!(of(Layout::Msvd, "msvd/-8y1Q0rA3n8_108_115"), "-8y1Q0rA3n8");
        assert_eq!(of(Layout::Msvd, "msvd/f_CvW22Eauc_16_23"), "f_CvW22Eauc");
        assert_eq!(of(Layout::Msvd, "msvd/vid12"), "msvd/vid12");
    }
}
