"""A few of the commonest words of languages in Latin script: enough for a vote, not for linguistics.

Written by hand from each language's most frequent function words, in the form `normalise` gives them. A word
that several of these languages share (de, la, en, a ...) counts for each of them, and so decides little.
"""

__all__ = ["STOP_WORDS"]

STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """the of and to in is it that was for on are as with his they at be this have from or
            had by not but what all were we when your can said there an which she do how their if will
            up about who them would been has my you he its no so me does did a i s t""",
        "de": """der die das und ist nicht ein eine zu den mit sich des auf für im dem von war als
            auch es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über
            einen so zum haben nur oder aber vor zur bis mehr durch man sein wurde ich wir was mich mir
            sehr kein in""",
        "fr": """le la les de des du et est un une en que qui dans pour pas sur ne se ce plus par avec
            il elle au sont son nous vous ils mais ou aux cette ses été être avait fait tout très ces
            sans comme je tu on leur ont c d l n s qu j a y""",
        "es": """el la los las de del y que en un una es por con no se su para como más lo le al pero
            sus ha este sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde
            todo nos fue era son está ser yo mi te a e o""",
        "it": """il lo la i gli le di del della dei e che è un una in per non con si da come più al
            sono ma anche ha questo alla se nel ci dalla io mi sua suo loro era hanno essere molto nella
            delle tra cosa fatto o a l c""",
        "pt": """o a os as de do da dos das e que em um uma é para com não se na no por mais como mas
            ao ele foi seu sua ou quando muito nos já eu também só pelo pela até isso ela entre era
            depois sem mesmo aos são está você meu""",
        "nl": """de het een en van ik te dat die in is niet zijn op aan met als voor had er maar om
            hem dan zou wat mijn men dit zo door over ze zich bij ook tot je mij uit der naar heb hoe
            heeft hebben deze want nog zal me zij nu geen worden""",
        "sv": """och det att i en jag hon som han på den med var sig för så till är men ett om hade de
            av icke mig du henne då sin nu har inte hans honom skulle hennes där min man ej vid kunde
            något från ut när efter upp vi dem vara vad över än""",
        "pl": """i w na z do nie się to że jest o jak za od po co ale tak przez być dla już był tylko
            było który ma jego jej są oraz tym może czy aby także gdy bardzo mnie mi tego te jeszcze bez
            nawet więc""",
        "cs": """a se v na je že o s z do i k ve pro za by ale si po jako od jsem tak jeho které který
            jsou byl jen nebo už co jak bylo při až aby když podle také není má můj velmi tento této""",
        "tr": """ve bir bu da de için ile çok ne daha gibi en o ben ama kadar olan olarak var mi mı
            sonra her değil diye ki ya veya hem bunu şey nasıl benim onun yok iyi şu bana göre""",
        "id": """yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena
            tersebut bisa ada mereka lebih kata tahun sudah atau saat oleh menjadi orang ia telah adalah
            seperti sebagai bahwa dapat para harus namun kita""",
        "vi": """và của là có không được cho các một những người với trong đã khi này để từ đến như
            cũng ra về nhiều rất tôi lại anh thì mà còn nhưng vào làm bị đó chỉ phải sẽ""",
    }.items()
}
