"""Texts for the files that the Rust tests compare with. All of them were written for this purpose.

Brands, people and places are invented or generic; nothing here comes from a data set.
"""

import random

GOLDEN = [
    # French, intent by intent, then odd ones.
    "C'est décidé, je résilie chez @NimboTel et je passe à la concurrence 👋",
    "marre de vos augmentations, je change de banque lundi @bancalys",
    "Au revoir @VoltéoFR, dix ans client et aucune considération. Résiliation envoyée.",
    "@NimboTel plus d'internet depuis ce matin à Lyon 3e, c'est une panne générale ?",
    "Mon colis @colirapide est marqué livré mais je n'ai RIEN reçu !!!",
    "vous m avez preleve deux fois 59,90 ce mois ci @bancalys merci de regarder",
    "l'appli @TrameBus plante à chaque ouverture depuis la mise à jour (Android 14)",
    "URGENT compte bloqué, je ne peux plus payer mes fournisseurs @bancalys",
    "@VoltéoFR pouvez-vous me rappeler svp ? personne ne répond au 09",
    "Bonjour, je vous ai envoyé un MP avec mon numéro de dossier, merci d'y répondre",
    "@MaisonOrla j'aimerais annuler ma commande de ce matin, c'est possible de votre côté ?",
    "à quand le mode sombre sur l'appli @TrameBus ? 🙏",
    "Ce serait top de pouvoir payer en trois fois sur votre site @MaisonOrla",
    "@colirapide vous livrez le samedi dans le 44 ?",
    "Bonjour quels sont vos horaires d'ouverture le 14 juillet ?",
    "Service client en dessous de tout, 40 min d'attente pour se faire raccrocher au nez",
    "Bravo pour la réunion de crise, toujours aussi nuls @NimboTel 👏👏",
    "les prix chez @MaisonOrla c'est devenu n'importe quoi sérieux",
    "Merci @VoltéoFR, technicien adorable et panne réparée en une heure 🙌",
    "franchement rien à dire, livraison nickel, emballage soigné, je recommande",
    "Il fait un temps magnifique sur la côte aujourd'hui ☀️",
    "@NimboTel recrute 20 techniciens à Nantes : https://exemple.test/offres?id=12",
    "Ce soir raclette entre amis, rien de mieux 🧀",
    "Le match était dingue, quelle remontada !!!",
    "J'ai croisé une pub @MaisonOrla dans le métro, jolie typo",
    "super, encore une coupure. merci @NimboTel, vraiment au top.",
    "slt c koi le numero du sav svp jsp ou chercher",
    "@NimboTelAide toujours rien depuis mon message de lundi, vous lisez les MP ?",
    "@bancalys_SAV c'est fait, tout est dans le formulaire",
    "NimboTel ou Fibralis, vous conseillez quoi pour la campagne ?",
    # English.
    "That's it, cancelling my @Nimbotel contract today. Switching to someone who answers.",
    "after 6 years I'm done with @harrowbank, moving my accounts this week",
    "Goodbye @StreamNook, the new price is the last straw",
    "@nimbotel internet down again in Leeds, third time this week",
    "My parcel says delivered but there's nothing here @quickcrate 😡",
    "@harrowbank I was charged twice for the same order, £42.10, please fix",
    "app keeps crashing on launch since the update, iPhone 13, iOS 18.2 @StreamNook",
    "URGENT: someone is using my card right now and your hotline is closed @harrowbank",
    "@quickcrate can you DM me please? I need to change the delivery address",
    "pls refund my order #A-20931, I returned it two weeks ago",
    "please add offline mode to the app @StreamNook 🙏",
    "It would be great if @harrowbank supported virtual cards",
    "@quickcrate do you deliver to Northern Ireland?",
    "what time does your support line open on Sundays?",
    "worst customer service I have ever dealt with, absolute joke",
    "Great job @nimbotel, 3 hours on hold and then you hang up. Five stars.",
    "your prices went up and the coffee got smaller. not impressed @BeanRow",
    "Shout out to Priya at @nimbotel who fixed my line in ten minutes, thank you!",
    "love the new update, so much faster ❤️",
    "just landed in Lisbon, the light here is unreal",
    "Harrow Bank reports record profits for the third quarter http://example.test/news",
    "We're hiring! Join @StreamNook as a data engineer 🚀",
    "That goal last night. I still can't believe it.",
    "wearing my @BeanRow hoodie at the gym lol",
    "so @nimbotel is down, guess I'll read a book like it's 1994",
    "@NimbotelHelp tried that twice, still nothing",
    "@AskHarrow sent you a DM, please have a look",
    # Odd ones.
    "",
    "🙂",
    "   \t\n  ",
    "@nimbotel",
    "https://example.test/a/b?c=d",
    "ok",
    "???",
    "１２３ ＡＢＣ ｈｅｌｐ！",
    "这个应用打不开了，请帮忙",
    "Meine Internetverbindung ist seit gestern tot, bitte helfen Sie mir @nimbotel",
    "llevo tres días sin internet y nadie contesta @NimbotelSupport",
    "интернет не работает с утра",
    "Wi‑Fi coupé… l’appli dit « erreur 503 » — que faire ?",
    "e\u0301te\u0301 sans re\u0301seau\u00a0! @nimbotel@social.example",
    "Bonjour, " + "je vous écris encore une fois car ma ligne est coupée et personne ne répond. " * 20,
    "help " * 150,
    # Longer than what is read, with a character of two bytes across the edge.
    "x" + "é" * 2_500,
    "ça ne marche pas " * 400 + "@nimbotel",
]

_BRANDS = ["NimboTel", "Bancalys", "Voltéo", "colirapide", "MaisonOrla", "StreamNook", "HarrowBank", "QuickCrate", "BeanRow", "TrameBus"]
_CITIES = ["Lyon", "Saint-Étienne", "Besançon", "Nîmes", "Leeds", "Dublin", "Tromsø", "Kraków", "Łódź", "São Paulo"]
_EMOJI = ["😡", "🙏", "👏👏", "☀️", "👩‍💻", "🇫🇷", "❤️", "🤷🏽‍♀️", "🧀", "✨", "😂😂😂", "👍🏿", "1️⃣", "🫠", "→", "™"]
_URLS = ["https://example.test/a?b=c&d=é", "http://exemple.test/panne#étape-2", "HTTPS://EXAMPLE.TEST", "https://", "www.example.test/x", "https://t.example/Ab3…"]
_HANDLES = ["@{b}", "@{b}_fr", "@{b}.bsky.example", "@{b}@mastodon.example", "@ {b}", ".@{b}", "@{b}:", "moi@{b}.test", "@@{b}", "@{b}-aide,", "@ask{b}", "@{b}_SAV", "@{b}_SAV.", "@jean@helpers.example", "@aide.{b}@b.example", "@scarecrow{b}", "@{b}Cares"]
_PATTERNS = [
    "{h} plus de réseau à {c} depuis {n} heures {e}",
    "Bonjour {h}, où en est ma commande n° {n}{n} ? {u}",
    "l’application {b} plante « à chaque fois » {e}{e} #{b} #panne",
    "ça fait {n} jours… toujours RIEN ?!! {h}",
    "J'ai été prélevé de {n},90 € au lieu de {n},00 € {h}",
    "{u} regardez ça {e} #été #ÇaSuffit",
    "merci {h} pour l'aide, œuvre d'un cœur généreux {e}",
    "où, à, çà, là-bas : naïve, Noël, maïs, ÿ, Œdipe, aiguë {n}",
    "{h} can't log in since v{n}.{n}, error 0x{n:x} {e}",
    "it's been {n} days & still no refund from {b} {u}",
    "Dear {b}: your app's broken. Sincerely, everyone in {c} {e}",
    "LOL {b} is down againnnnn {e}{e}{e} #{b}down",
    "price went from ${n}.99 to ${n}9.99?? {h} {e}",
    "do you ship to {c}? {h} {u}",
    "thx {h} u r the best {e} xoxo",
    "A\tB\nC\r\nD  E {h}   {b} ",
    "ｆｕｌｌ　ｗｉｄｔｈ　ｔｅｘｔ {b} １２{n}",
    "ﬁche produit Ⅳ ½ x² ① № {n} {b}",
    "de\u0301compose\u0301 e\u0300 a\u0302 c\u0327 {c} {h}",
    "zero\u200bwidth\u200djoiner\u00ad soft\u2060 {b} \ufeff{n}",
    "control\u0001 \u0007chars\u001f here\u007f and \u0085 next {b}",
    "bidi \u202eabc\u202c \u200fמה קורה {b} {e}",
    "{b} не работает в {c} уже {n} дня",
    "{b} が使えません {e} 助けて {n}",
    "مرحبا {b} لا يعمل {n}",
    "안녕하세요 {b} 고객센터 {n} {e}",
    "{b} 无法登录 {c} ，怎么办？ {u}",
    "mixed Ελληνικά и кириллица and हिन्दी with {b}",
    "ALLCAPS {b} SÉRIEUX À {c} ÇA MARCHE PAS {e}",
    "…—–‘’“”«»‹›•·×÷±≠≤≥€£¥¢§¶†‡ {n} {b}",
    "__init__ `code` <b>{b}</b> &amp; \\n \\u00e9 {{json: [{n}]}} {u}",
    "{e}{e}{e}",
    "{h}{h} {u}{u} {n}{n}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaa{b}aaaaaaaaaaaa {n}",
    "<s> </s> <pad> <unk> ▁ ▁▁{b} {n}",
    "\ud7ff\ue000\U0001f9ff\U00020000 {b} {n}",
    "\u2028line\u2029para\u3000wide\u1680ogham\u202fnarrow {b} {e}",
    "½@{b} ²@{b} é@{b}· @{b}e\u0301 @{b}\u200dx @½{b} {n}",
]


def tokeniser_texts(count: int = 1000, seed: int = 7) -> list[str]:
    """`count` different texts from the patterns above, the same ones for the same seed."""
    rng = random.Random(seed)
    texts = {}
    while len(texts) < count:
        b = rng.choice(_BRANDS)
        texts[
            rng.choice(_PATTERNS).format(
                b=b,
                c=rng.choice(_CITIES),
                e=rng.choice(_EMOJI),
                n=rng.randint(1, 999),
                u=rng.choice(_URLS),
                h=rng.choice(_HANDLES).format(b=b),
            )
        ] = None
    return list(texts)
