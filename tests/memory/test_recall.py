"""Which pictures a question speaks of: a table of phrases, each with what it must mean."""

import time
from dataclasses import replace

import pytest

from memory.messages import PictureRef
from memory.recall import Reference, refer


def picture(number: int, caption: str, name: str, sender: str = "user") -> PictureRef:
    return PictureRef(
        number=number,
        sha256=f"{number:064x}",
        media_type="image/png",
        width=64,
        height=48,
        bytes=100,
        sender="bot" if sender == "bot" else "user",
        name=name,
        caption=caption,
    )


#: picture 4 was dropped: its number does not come back
ALBUM = (
    picture(1, "a brown dog on the grass", "dog.jpg"),
    picture(2, "a red car in the snow", "IMG_2034.jpeg"),
    picture(3, "bar chart of sales by region", "sales.png", "bot"),
    picture(5, "a red house at night", "house.jpg"),
    picture(6, "line chart of rainfall", "rain.png", "bot"),
)

CERTAIN = [
    ("what is in picture 3?", (3,)),
    ("Picture 2, please", (2,)),
    ("what about image #2", (2,)),
    ("describe photo no. 5", (5,)),
    ("describe picture number two", (2,)),
    ("is picture number one blurred?", (1,)),
    ("compare pictures 3 and 5", (3, 5)),
    ("compare picture 3 and picture 5", (3, 5)),
    ("compare picture 5 with picture 3", (5, 3)),
    ("pictures 1, 2 and 5 are mine", (1, 2, 5)),
    ("look at images 1-3", (1, 2, 3)),
    ("look at images 1 to 3 again", (1, 2, 3)),
    ("pictures 3 & 5", (3, 5)),
    ("what is in the second picture?", (2,)),
    ("What is in the SECOND PHOTO?", (2,)),
    ("the 2nd image", (2,)),
    ("the 5th picture", (5,)),
    ("the first and third pictures", (1, 3)),
    ("the first, second and fifth photos", (1, 2, 5)),
    ("Compare the first picture with the second.", (1, 2)),
    ("Compare the first picture with the second one.", (1, 2)),
    ("the third uploaded image", (3,)),
    ("what colour is the car in the second picture I sent you?", (2,)),
    ("the last picture", (6,)),
    ("the latest photo?", (6,)),
    ("the most recent image", (6,)),
    ("the previous picture", (6,)),
    ("and the previous one?", (6,)),
    ("the last one", (6,)),
    ("the last picture I sent", (5,)),
    ("the last picture you showed me", (6,)),
    ("my last photo", (5,)),
    ("the last chart", (6,)),
    ("the last graph you drew", (6,)),
    ("the first chart", (3,)),
    ("the penultimate picture", (5,)),
    ("the second to last photo", (5,)),
    ("the one before that", (5,)),
    ("the picture before last", (5,)),
    ("the first two pictures", (1, 2)),
    ("the first 3 images", (1, 2, 3)),
    ("the last two photos", (5, 6)),
    ("the last three pictures", (3, 5, 6)),
    ("the last two charts", (3, 6)),
    ("both charts", (3, 6)),
    ("all the pictures", (1, 2, 3, 5, 6)),
    ("every photo I sent", (1, 2, 5)),
    ("all five pictures", (1, 2, 3, 5, 6)),
    ("what is in dog.jpg?", (1,)),
    ("what is in DOG.JPG", (1,)),
    ("compare house.jpg and dog.jpg", (5, 1)),
    ("who took IMG_2034?", (2,)),
    ("the one with the dog", (1,)),
    ("what breed is it, in the one with the dog and the grass?", (1,)),
    ("the photo of the red car", (2,)),
    ("the picture showing a house", (5,)),
    ("the dog picture", (1,)),
    ("the red car photo is nice", (2,)),
    ("the chart of rainfall", (6,)),
    ("compare the dog photo with picture 5", (1, 5)),
    ("chart 3", (3,)),
    ("the pictures are nice", (1, 2, 3, 5, 6)),
    ("was ist auf dem zweiten Bild?", (2,)),
    ("das letzte Foto", (6,)),
    ("Bild 3 und Bild 5", (3, 5)),
    ("Bilder 3 und 5", (3, 5)),
    ("das vorletzte Bild", (5,)),
    ("die ersten beiden Bilder", (1, 2)),
    ("alle Bilder", (1, 2, 3, 5, 6)),
    ("第二张图片里有什么？", (2,)),
    ("第3张照片", (3,)),
    ("图片5", (5,)),
    ("最后一张图片", (6,)),
    ("上一张呢？", (6,)),
    ("前两张图片", (1, 2)),
    ("所有图片", (1, 2, 3, 5, 6)),
]

AMBIGUOUS = [
    ("what is in the picture?", (1, 2, 3, 5, 6)),
    ("the one with the red", (2, 5)),
    ("the red picture", (2, 5)),
    ("what does the chart say?", (3, 6)),
    ("both pictures", (1, 2, 3, 5, 6)),
    ("all three photos", (1, 2, 3, 5, 6)),
    ("the photo of the red boat", (2, 5)),
]

ABSENT = [
    "what is in picture 9?",
    "the fourth picture",  # it was dropped, and no other takes its place
    "image #40",
    "the seventh photo",
]

NOTHING = [
    "what is the second law of thermodynamics?",
    "in the first place, who won?",
    "the last chapter",
    "the previous year",
    "the last one to leave was Ann",
    "what does figure 3 of the paper show?",
    "the second figure",
    "image 3 on page 5 of the report",
    "the second picture in the report",
    "the first image on page 2",
    "table 2",
    "chart 2",
    "page 3",
    "chapter 3 and 5",
    "the one with the highest revenue",
    "the picture of a zebra",
    "the big picture matters",
    "make an image 640x480 wide",
    "a picture is worth a thousand words",
    "how do I crop pictures?",
    "version 2.5",
    "issue #3 is open",
    "both answers",
    "all of it",
    "第二定律是什么？",
    "第二张表",
    "das zweite Gesetz",
    "hotdog.jpg",
    "",
]


@pytest.mark.parametrize(("text", "numbers"), CERTAIN)
def test_a_phrase_that_fits_one_reading_is_resolved(text: str, numbers: tuple[int, ...]) -> None:
    found = refer(text, ALBUM)
    assert (found.numbers, found.ambiguous) == (numbers, ())
    assert found.phrase


@pytest.mark.parametrize(("text", "candidates"), AMBIGUOUS)
def test_a_phrase_that_fits_several_names_them_all(text: str, candidates: tuple[int, ...]) -> None:
    found = refer(text, ALBUM)
    assert (found.numbers, found.ambiguous) == ((), candidates)
    assert found.phrase


@pytest.mark.parametrize("text", ABSENT)
def test_a_picture_that_is_not_there_is_understood_but_not_found(text: str) -> None:
    found = refer(text, ALBUM)
    assert (found.numbers, found.ambiguous) == ((), ())
    assert found.phrase


@pytest.mark.parametrize("text", NOTHING)
def test_words_that_name_no_picture_of_the_conversation_mean_nothing(text: str) -> None:
    assert refer(text, ALBUM) == Reference()


def test_the_only_picture_is_the_picture() -> None:
    assert refer("what is in the picture?", ALBUM[:1]).numbers == (1,)


def test_a_counted_kind_asks_when_the_lasting_number_fits_as_well() -> None:
    """Among three charts numbered 2, 4 and 5, "the second chart" may be number 2 or number 4."""
    charts = tuple(picture(number, "a chart of sales", f"{number}.png") for number in (2, 4, 5))
    found = refer("the second chart", charts)
    assert (found.numbers, found.ambiguous) == ((), (2, 4))


def test_a_kind_that_no_caption_tells_is_asked_about() -> None:
    silent = (picture(1, "", "a.png"), picture(2, "", "b.png"))
    found = refer("the last chart", silent)
    assert (found.numbers, found.ambiguous) == ((), (1, 2))


def test_two_pictures_of_the_same_name_are_both_candidates() -> None:
    twins = (picture(1, "", "scan.png"), picture(2, "", "scan.png"))
    assert refer("what is in scan.png?", twins).ambiguous == (1, 2)


def test_in_a_conversation_without_pictures_the_picture_is_nothing() -> None:
    assert refer("what is in the picture?", ()) == Reference()


def test_the_order_of_the_references_does_not_matter() -> None:
    assert refer("the last picture", ALBUM[::-1]).numbers == (6,)


NEW = [
    ("What is in this picture?", (7,)),
    ("Compare this picture with the last one.", (7, 6)),
    ("Is this chart newer than the previous one?", (7, 6)),
    ("Does it look like the one with the dog?", (1,)),
    ("Compare it with picture 2", (2,)),
    ("Was ist auf diesem Bild?", (7,)),
    ("这张图片里有什么？", (7,)),
]


@pytest.mark.parametrize(("text", "numbers"), NEW)
def test_what_came_with_the_question_is_this_and_never_the_last(
    text: str, numbers: tuple[int, ...]
) -> None:
    """Picture 7 came with the question."""
    found = refer(text, [*ALBUM, picture(7, "", "new.png")], new=[7])
    assert (found.numbers, found.ambiguous) == (numbers, ())


def test_of_several_that_came_with_the_question_these_are_meant() -> None:
    """But "the second picture" may be the second of them as well as picture 2."""
    pictures = [*ALBUM, picture(7, "", "a.png"), picture(8, "", "b.png")]
    assert refer("Compare these pictures.", pictures, new=[7, 8]).numbers == (7, 8)
    assert refer("Compare both pictures.", pictures, new=[7, 8]).numbers == (7, 8)
    assert refer("What is in the second picture?", pictures, new=[7, 8]).ambiguous == (2, 8)


def test_what_the_bot_offered_is_meant_only_where_the_words_say_so() -> None:
    offered = [picture(7, "map of the harbour", "harbour.png", "bot")]
    user = [p for p in ALBUM if p.sender == "user"]
    assert refer("the map you showed me", user, offered=offered).numbers == (7,)
    assert refer("die Karte, die du gezeigt hast", user, offered=offered).numbers == (7,)
    assert refer("你给我看的地图", user, offered=offered).numbers == (7,)
    for text in ("the map", "the last picture", "the harbour map", "all pictures"):
        assert 7 not in refer(text, user, offered=offered).numbers


def test_of_two_people_of_one_first_name_it_is_asked_which() -> None:
    """Their whole names tell them apart; a name that is a word of the language is no name."""
    photos = [
        replace(ALBUM[0], who="Anna Braun"),
        replace(ALBUM[1], who="Anna Schmidt"),
        replace(ALBUM[2], who="The"),
    ]
    assert refer("Anna's picture", photos).ambiguous == (1, 2)
    assert refer("Anna Schmidt's picture", photos).numbers == (2,)
    assert refer("the photo that Anna Braun sent", photos).numbers == (1,)
    assert refer("the picture of the house", photos) == Reference()


HOSTILE = [
    "the ",
    "picture with the ",
    "first and ",
    "picture 1, ",
    "1 to 999, ",
    "pictures 1-999 ",
    "Anna's ",
    "one ",
    "#1 ",
    "第",
    "图",
    "有的",
    "小明发的",
    "\x00",
    "\u202e",
    "\ud800",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_text_is_too_odd_or_takes_long_to_read(piece: str) -> None:
    """Ten times the text takes no more than some fifty times as long, and numbers stay few."""
    people = [replace(p, who="Anna (.*)+ [") for p in ALBUM]
    taken = []
    for size in (800, 8000):
        text = (piece * size)[:size]
        started = time.perf_counter()
        found = refer(text, people)
        taken.append(time.perf_counter() - started)
        assert set(found.numbers) <= {1, 2, 3, 5, 6}
    assert taken[1] < 50 * taken[0] + 1.0
