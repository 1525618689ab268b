"""Texts and labels that would like to run, to break out of their place, or to break the layout."""

HOSTILE = (
    "<script>document.title='pwned'</script> was in the box",
    "</style><style>body{display:none}</style> and </title> too",
    "{{7*7}} {% raw %} ${7*7} $\\alpha$ {{ config }}",
    "<img src=x onerror=\"document.title='pwned'\"> &lt; &amp; ' \" `",
    "x" * 3000,
    "שלום עולם, המוצר הגיע שבור ואף אחד לא ענה לי \u202e txet desrever",
    "这个产品非常好，但是电池两天就坏了，客服也没有回复。",
    "great 👍🏽👩‍👩‍👧‍👦 until it was not 😭",
    "bell\x07 null\x00 escape\x1b[31m delete\x7f",
    '=HYPERLINK("http://example.invalid")\n---\nlicense: stolen\n',
)
HOSTILE_LABELS = ("<b>bad</b>", "---\nlicense: mit", 'neutral: "ok" {{x}}')
