"""The model card of a return model, in English and French: what it is, what it learnt from, what it is worth.

After Mitchell et al. 2019 (Model cards for model reporting, FAT*): use, data, figures by group, limits. One Markdown
file; figures are those stored when the model was fitted.
"""

import re
from datetime import timedelta
from typing import Any

from pipelines.analyses.model_report import DAY_ZERO
from pipelines.estimate.probability import Version
from pipelines.why import Why, read

WORDS: dict[str, dict[str, str]] = {
    "en": {
        "title": "Model card: probability that an order line is returned",
        "what": "What it is",
        "kind_logistic": "logistic regression",
        "kind_trees": "gradient boosted trees, rising or falling where the trade knows the sign",
        "is": "One model of the source {source}: {kind}. It gives each order line the probability that it comes"
        " back, from what is known when it is ordered. Its level is the past rate of the category in the country.",
        "use": "Use: expected return rates, cost and emissions before shipping, and finding what makes orders come"
        " back. It is no ground to refuse a sale or a return to a person.",
        "state": "State",
        "used": "In use since {day}.",
        "data": "Data",
        "from": "{rows:,} order lines from {first} to {last}, all old enough for their returns to have come. A line"
        " sees only returns known when it was ordered. Customers are keyed hashes; names and addresses are not used.",
        "worth": "Figures on later lines",
        "judged": "Judged on {rows:,} lines by {splits} splits in time; each learnt only from lines ordered at least 35"
        " days before.",
        "measure": "measure",
        "value": "value",
        "low": "lower bound",
        "high": "upper bound",
        "auc": "area under the curve",
        "base": "area under the curve of the {base} rate",
        "loss": "log loss",
        "gain": "log loss saved against the {base} rate",
        "skill": "Brier skill against the {base} rate",
        "error": "calibration error",
        "groups": "By group",
        "group": "group",
        "lines": "lines",
        "expected": "expected",
        "observed": "observed",
        "features": "What weighs most",
        "feature": "feature",
        "loses": "area lost when it is shuffled",
        "refused": "Refused features",
        "none": "None.",
        "limits": "Limits",
        "limit": "A new customer or product is expected to be usual for its market. A change of policy, price or"
        " assortment is followed only as returns come in, 35 days later. The worst group differs by {gap:.1%} between"
        " expected and observed.",
        "shop": "shop",
        "market": "market",
        "product": "product",
    },
    "fr": {
        "title": "Fiche du modèle : probabilité de retour d'une ligne de commande",
        "what": "Ce que c'est",
        "kind_logistic": "régression logistique",
        "kind_trees": "arbres boostés, croissants ou décroissants là où le métier connaît le sens",
        "is": "Un modèle de la source {source} : {kind}. Il donne à chaque ligne de commande la probabilité d'être"
        " retournée, d'après ce qui est connu à la commande. Son niveau est le taux passé de la catégorie dans le"
        " pays.",
        "use": "Usage : taux de retour attendus, coût et émissions avant l'expédition, et recherche de ce qui provoque"
        " les retours. Il ne justifie pas de refuser une vente ou un retour à une personne.",
        "state": "État",
        "used": "Utilisé depuis le {day}.",
        "data": "Données",
        "from": "{rows:,} lignes de commande du {first} au {last}, toutes assez anciennes pour que leurs retours soient"
        " arrivés. Une ligne ne voit que les retours connus à sa commande. Les clients sont des empreintes à clé ; ni"
        " noms ni adresses ne servent.",
        "worth": "Résultats sur les lignes suivantes",
        "judged": "Jugé sur {rows:,} lignes par {splits} coupes dans le temps ; chacune n'apprend que de lignes"
        " commandées au moins 35 jours avant.",
        "measure": "mesure",
        "value": "valeur",
        "low": "borne inférieure",
        "high": "borne supérieure",
        "auc": "aire sous la courbe",
        "base": "aire sous la courbe du taux par {base}",
        "loss": "perte logarithmique",
        "gain": "perte logarithmique évitée par rapport au taux par {base}",
        "skill": "gain de Brier par rapport au taux par {base}",
        "error": "erreur de calibration",
        "groups": "Par groupe",
        "group": "groupe",
        "lines": "lignes",
        "expected": "attendu",
        "observed": "observé",
        "features": "Ce qui pèse le plus",
        "feature": "variable",
        "loses": "aire perdue quand elle est mélangée",
        "refused": "Variables refusées",
        "none": "Aucune.",
        "limits": "Limites",
        "limit": "Un nouveau client ou un nouveau produit est supposé habituel pour son marché. Un changement de"
        " politique, de prix ou d'assortiment n'est suivi qu'au rythme des retours, 35 jours plus tard. Le groupe le"
        " plus éloigné s'écarte de {gap:.1%} entre attendu et observé.",
        "shop": "boutique",
        "market": "marché",
        "product": "produit",
    },
}

REASONS: dict[str, str] = {
    "model_short": "le modèle qui prévoit les retours n'est pas utilisé : trop peu de semaines de commandes suivantes"
    " pour le juger",
    "model_leaks": "le modèle qui prévoit les retours n'est pas utilisé : il sépare trop bien les lignes suivantes"
    " ({figure} sur 1) pour ce qui est connu à la commande",
    "model_weak": "le modèle qui prévoit les retours n'est pas utilisé : sur {n} lignes suivantes, il ne prédit pas"
    " mieux que les taux passés (perte logarithmique réduite de {gain}, borne inférieure {least})",
    "model_uneven": "le modèle qui prévoit les retours n'est pas utilisé : ce qui revient varie trop d'un mois à"
    " l'autre",
    "model_off": "le modèle qui prévoit les retours n'est pas utilisé : il attendait {expected} pour {month}, et"
    " {observed} sont revenus",
    "model_off_later": "le modèle qui prévoit les retours n'est pas utilisé : il attendait {expected} des commandes"
    " suivantes, et {observed} sont revenus",
    "model_kept": "pas utilisé : il ne prévoit pas mieux les lignes suivantes que le modèle en place",
    "leak_alone": "{feature} ne sert pas à prévoir les retours : à elle seule, cette variable sépare les lignes"
    " retournées des lignes gardées ({figure} sur 1), elle a donc été écrite après le retour",
    "leak_pure": "{feature} ne sert pas à prévoir les retours : {share} des lignes qui ont une de ses valeurs sont"
    " revenues, elle a donc été écrite après le retour",
    "leak_rewritten": "{feature} ne sert pas à prévoir les retours : cette variable a changé dans un export suivant"
    " pour {share} des lignes retournées, et pour bien moins des lignes gardées",
}
"""What a model says of itself, in French: the same sentences as on the pages (a test compares them)."""


def model_card(version: Version) -> str:
    """Write the card of a model, English first."""
    return "\n\n---\n\n".join(_card(version, language) for language in WORDS) + "\n"


def _card(version: Version, language: str) -> str:
    words, judgement = WORDS[language], version.parameters["judgement"]
    state = (
        words["used"].format(day=f"{version.fitted_at:%Y-%m-%d}")
        if version.is_used
        else _said(version.why_not, language)
    )
    parts = [
        f"# {words['title']}",
        f"`{version.model_id}`",
        f"## {words['what']}",
        words["is"].format(source=version.source, kind=words[f"kind_{version.model.kind}"]),
        words["use"],
        f"## {words['state']}",
        f"{state[:1].upper()}{state[1:]}",
    ]
    if judgement:
        parts += _judged(words, judgement)
    leaks = [f"- {_said(leak['reason'], language)}" for leak in version.parameters["leaks"]]
    parts += [f"## {words['refused']}", "\n".join(leaks) or words["none"]]
    if judgement:
        gap = max((abs(s["expected"] - s["observed"]) for s in judgement["slices"]), default=0.0)
        parts += [f"## {words['limits']}", words["limit"].format(gap=gap)]
    text = "\n\n".join(parts)
    return text.replace(" :", "\u00a0:").replace(" ;", "\u202f;") if language == "fr" else text


def _said(sentence: str, language: str) -> str:
    """Give sentences of `pipelines.why` in a language; a text that is none of them stays as it is."""
    if language == "en":
        return sentence
    return " ; ".join(
        REASONS[one.code].format(**{name: _figure(text) for name, text in one.parts.items()})
        if isinstance(one, Why) and one.code in REASONS
        else sentence
        for one in read(sentence)
    )


def _figure(text: str) -> str:
    """Write a number or share as French does; another text, a month's too, stays as it is."""
    if not re.fullmatch(r"-?[\d,]*\.?\d+%?", text):
        return text
    return text.replace(",", "\u202f").replace(".", ",").replace("%", "\u00a0%")


def _judged(words: dict[str, str], judgement: dict[str, Any]) -> list[str]:
    """Give the parts that rest on the judgement."""
    first, last = (DAY_ZERO + timedelta(days=judgement[n]) for n in ("first_day", "last_day"))
    gate, error = judgement["gate"], judgement["calibration"]
    rows = [(words["auc"], judgement["auc"], None, None)]
    rows += [(words["base"].format(base=words[b]), auc, None, None) for b, auc in judgement["base_auc"].items()]
    rows += [
        (words["loss"], judgement["log_loss"], None, None),
        (words["gain"].format(base=words[gate["base"]]), gate["share"], gate["low"], None),
    ]
    rows += [
        (words["skill"].format(base=words[b]), s["value"], s["low"], s["high"]) for b, s in judgement["skill"].items()
    ]
    rows.append((words["error"], error["value"], error["low"], error["high"]))
    groups = [
        (f"{s['cut']}: {s['value']}", s["lines"], s["auc"], s["expected"], s["observed"], s["low"], s["high"])
        for s in judgement["slices"]
    ]
    weights = sorted(judgement["importance"].items(), key=lambda item: -item[1])[:10]
    return [
        f"## {words['data']}",
        words["from"].format(rows=judgement["rows"], first=first, last=last),
        f"## {words['worth']}",
        words["judged"].format(rows=judgement["test_rows"], splits=len(judgement["splits"])),
        _table([words[n] for n in ("measure", "value", "low", "high")], rows),
        f"## {words['groups']}",
        _table([words[n] for n in ("group", "lines", "auc", "expected", "observed", "low", "high")], groups),
        f"## {words['features']}",
        _table([words["feature"], words["loses"]], weights),
    ]


def _table(names: list[str], rows: list[Any]) -> str:
    """Write a table of Markdown; signs that Markdown reads are escaped."""

    def cell(value: Any) -> str:
        if value is None:
            return ""
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    lines = [names, ["---"] * len(names), *([cell(v) for v in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
