from trivium.report.html import Html, details, element, escape, join, table


def test_markup_in_text_is_written_as_text():
    assert escape("<script>&\"'") == "&lt;script&gt;&amp;&quot;&#x27;"


def test_markup_made_here_is_not_escaped_twice():
    assert element("p", element("b", "<")) == "<p><b>&lt;</b></p>"


def test_an_attribute_cannot_be_left():
    assert element("p", title='" onload="x') == '<p title="&quot; onload=&quot;x"></p>'


def test_control_characters_are_seen_and_line_ends_and_tabs_stay():
    assert escape("a\x00\x1b\x7f\tb\r\nc") == "a\u2400\u241b\u2421\tb\nc"


def test_unpaired_surrogates_become_replacement_characters_and_emoji_stay():
    assert escape("\ud800 \udfff 😀").encode() == "\ufffd \ufffd 😀".encode()


def test_text_beside_markup_is_escaped_when_they_are_joined():
    assert join([element("br"), "<"], "&") == "<br>&amp;&lt;"


def test_plain_concatenation_loses_the_right_to_be_markup():
    assert escape(element("b", "x") + "<i>") == "&lt;b&gt;x&lt;/b&gt;&lt;i&gt;"
    assert isinstance(details("more", "text"), Html)


def test_a_table_names_its_rows_and_columns():
    text = table(["measure", "base"], [["loss", "1 < 2"]], caption="held out")
    assert '<th scope="col">base</th>' in text
    assert '<tr><th scope="row">loss</th><td>1 &lt; 2</td></tr>' in text
