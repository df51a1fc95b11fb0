from dr.report.markup import Html, element, fragment


def test_text_never_becomes_markup() -> None:
    assert element("p", "</p><script>alert('1')</script>&amp;") == (
        "<p>&lt;/p&gt;&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;&amp;amp;</p>"
    )


def test_attribute_cannot_be_left() -> None:
    assert element("a", href='" onclick="x', title="'\n>") == (
        '<a href="&quot; onclick=&quot;x" title="&#x27;\\n&gt;"></a>'
    )


def test_markup_added_to_text_is_text() -> None:
    assert element("p", Html("<b>") + "x") == "<p>&lt;b&gt;x</p>"


def test_characters_that_hide_or_reorder_others_are_shown() -> None:
    assert fragment("a\x1b[31m\u202eb\u2066\u200bc\x00\ud800") == "a\\x1b[31m\\u202eb\\u2066\\u200bc\\x00\\ud800"


def test_line_breaks_of_text_stay() -> None:
    assert element("pre", "one\ntwo") == "<pre>one\ntwo</pre>"


def test_attribute_that_is_none_is_left_out_and_numbers_are_rounded() -> None:
    assert element("rect", x=1.26, y=2.0, rx=None, stroke_width=3) == '<rect x="1.3" y="2" stroke-width="3"></rect>'
