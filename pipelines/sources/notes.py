"""Themes of customers' notes: a free note becomes one word and is forgotten.

The rule is a list of word stems, French and English, first match wins; no text of the note is kept.
"""

from pipelines.sources.base import quote

THEMES = {
    "size_small": r"too (small|tight|short|narrow)|runs? small|trop (petit|serre|court|etroit|juste)|taille petit",
    "size_large": r"too (large|big|long|loose|wide)|runs? (large|big)|trop (grand|large|long|ample)|taille grand",
    "fit": r"\bfit(s|ting|ted)?\b|\bsize|\bcut\b|\bcoupe\b|taille|tombe mal",
    "damaged": r"damage|\bbroke|crush|torn|casse|abime|dechire|endommage|ecrase",
    "quality": r"quality|defect|faulty|fault|stain|\bhole|seam|zip|stopped working|qualite|defaut|tache|\btrou|couture|fermeture",
    "fabric": r"fabric|material|cotton|wool|itch|tissu|matiere|coton|laine|gratte|transparent|see.?through",
    "colour": r"colou?r|shade|couleur|teinte|nuance",
    "wrong_item": r"wrong (item|product|article|size|one)|not what i ordered|mauvais (article|produit)|pas (le bon|ce que)|erreur",
    "late": r"\blate\b|delay|too long to arrive|retard|trop tard|en retard",
    "price": r"price|cheaper|expensive|\bprix|moins cher|trop cher",
    "gift": r"\bgift|present for|cadeau",
    "changed_mind": r"changed? (my )?mind|no longer|don.?t (need|like|want)|change d.?avis|plus besoin|ne (me )?plait|aime pas",
}  # fmt: skip


def note_theme_sql(expression: str) -> str:
    """Give the theme of a note as a DuckDB SQL expression: one of THEMES, `other`, or NULL for no note.

    A value that already is a theme stays.
    """
    text = f"lower(strip_accents({expression}))"
    known = ", ".join(quote(t) for t in (*THEMES, "other"))
    cases = " ".join(f"WHEN regexp_matches({text}, {quote(pattern)}) THEN {quote(t)}" for t, pattern in THEMES.items())
    return (
        f"CASE WHEN {expression} IS NULL OR trim({expression}) = '' THEN NULL WHEN {expression} IN ({known}) THEN {expression} "
        f"{cases} ELSE 'other' END"
    )
