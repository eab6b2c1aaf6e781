"""The words of the demo library: prose, a table, picture descriptions, questions.

Everything here is invented for this project: there is no island of Skerrin. Knows nothing of how
the files are written.
"""

GUIDE = """\
# Skerrin Harbour Museum: a visitor's guide

Skerrin is an island of 412 people, 45 minutes by ferry from the mainland town of Aldmouth. The
museum stands on the north quay, in a stone store where herring were salted until 1931. A group of
islanders bought the building for one crown and opened the museum on 3 May 1987.

## Opening hours and tickets

From April to October the museum is open from Tuesday to Sunday, 10:00 to 17:00. In winter it opens
on Saturdays only, 11:00 to 15:00. It is closed from 24 December to 2 January.

A ticket costs 9.50 euros for adults and 4.00 euros for children. A family ticket for two adults and
up to three children costs 22.00 euros. Islanders pay nothing.

## The lighthouse

![The lighthouse of Skerrin Head at dusk, red and white, with its lamp lit](lighthouse.jpg)

The lighthouse of Skerrin Head is 34 metres tall and has 163 steps. It was built of island granite
between 1868 and 1871 and was first lit on 14 October 1871. Its lamp flashes once every 12 seconds
and is seen 21 nautical miles away.

Tours of the tower start at 11:30 and 14:30. A tour takes at most eight people, lasts 50 minutes and
is not for children under seven. Book at the museum's desk: there is no desk at the tower.

## The harbour

Fourteen boats have their berth in the harbour. The table `boats.csv` lists them all. The oldest is
the yawl Halcyon, built in 1908, with tan sails and a white hull. The blue fishing boat Marit sells
her catch from the north quay on weekday mornings at about 8:30.

## Puffins

About 2,300 pairs of puffins nest on Tammel's Rock, half an hour's walk west of the harbour. They
come in the middle of April and are gone by the first week of August. Stay five metres away from the
burrows, keep dogs on a lead, and do not step on the thrift: the turf below it is hollow.
"""

KEEPERS = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>The keepers of Skerrin Head</title>
</head>
<body>
<h1>The keepers of Skerrin Head</h1>
<p>Eleven keepers lived at the light between 1871 and 1989. This page is about three of them, and
about how the lamp was lit before there was electricity.</p>

<h2>Anders Holm, the first keeper</h2>
<p>Anders Holm kept the light from 1871 to 1889. He had been a sailmaker, and he sewed the canvas
curtain that kept the sun off the lens by day: without it the lens would have set fire to the lamp
room. His logbooks fill nine shelves of the museum's reading room.</p>

<h2>Elspeth Varr and the nineteen nights</h2>
<p>In January 1893 ice broke the jetty and no boat could land for almost three weeks. The keeper,
Magnus Varr, lay ill with fever. His daughter Elspeth Varr, who was sixteen, kept the light alone
for nineteen nights. She wound the clockwork every four hours and slept on the stairs between.
She became keeper herself in 1904, the first woman to hold the post on the coast.</p>

<h2>Tobias Renn, the last keeper</h2>
<p>Tobias Renn switched the light to automatic on 30 September 1989 and locked the door behind him.
He took one thing with him: the keepers' cat, a tabby called Fresnel.</p>

<h2>How the oil lamp was lit</h2>
<ol>
<li>Draw the canvas curtain an hour before sunset and polish the lens with a linen cloth.</li>
<li>Fill the tank with 6 litres of colza oil, enough for one winter night.</li>
<li>Trim the four wicks level with the brass rim.</li>
<li>Light the inner wick first and wait five minutes, so that the glass warms slowly.</li>
<li>Light the outer wicks, then release the clockwork that turns the lens.</li>
</ol>
<p>Paraffin replaced colza oil in 1902, and electric light replaced paraffin in 1968.</p>
</body>
</html>
"""

BOATS = """\
Name,Kind,Hull,Length (m),Built,Owner,Berth,Day charter (EUR)
Marit,fishing boat,blue,11.4,1974,Ingrid Sollund,North quay 1,380
Halcyon,yawl,white,13.2,1908,Harbour Museum,North quay 4,520
Kittiwake,crab boat,green,8.6,1992,Rory Tammel,North quay 2,240
Storm Petrel,lifeboat,orange,16.9,2011,Island Lifeboat Society,Slipway,
Old Annie,rowing boat,varnished,5.1,1936,Harbour Museum,Boat shed,35
Selkie,dinghy,yellow,4.3,2003,Sailing School,Pontoon A,60
Merle,dinghy,red,4.3,2003,Sailing School,Pontoon A,60
Bess Varr,trawler,black,18.7,1981,Varr Brothers,South quay 1,
Tern,motor launch,white,7.9,1999,Harbour Office,Pontoon B,210
Guillemot,ketch,dark red,14.8,1927,Petra Holm,North quay 5,610
Lumpfish,work barge,grey,12.0,1988,Harbour Office,South quay 3,
Fulmar,sloop,cream,9.7,1965,Jonas Renn,Pontoon B,290
Skerrin Maid,ferry,white,31.5,2016,Skerrin Ferry Company,Ferry pier,
Little Auk,creel boat,turquoise,6.8,1979,Rory Tammel,North quay 3,150
"""

SAIL_SIDECAR = """\
The yawl Halcyon comes home under tan sails on midsummer evening, seen from the south quay.
Photograph by Petra Holm, 21 June 2023. It won the island's calendar competition that year.
"""

LIGHTHOUSE_WORDS = {
    "title": "Skerrin Head lighthouse",
    "description": "The lighthouse of Skerrin Head at dusk, seen from the coast path",
    "keywords": "lighthouse; tower; dusk; Skerrin Head",
    "date": "2022:10:14 18:42:00",
    "creator": "Jonas Renn",
}

BOAT_WORDS = {
    "title": "Marit at the north quay",
    "description": "The blue fishing boat Marit at her berth on the north quay",
    "keywords": "boat; fishing boat; harbour; blue",
    "date": "2024:05:28 09:15:00",
    "creator": "Ingrid Sollund",
}

PUFFIN_WORDS = {
    "title": "Puffin on Tammel's Rock",
    "description": "An Atlantic puffin stands among the thrift on Tammel's Rock",
    "keywords": "puffin; bird; seabird; thrift",
    "place": "Tammel's Rock, Skerrin",
    "date": "2023:06:09 16:20:00",
    "creator": "Petra Holm",
}

CHANDLERY = (
    ("Rope 12 mm, 20 m", "31.00"),
    ("Brass shackle x 4", "18.40"),
    ("Deck paint, blue", "24.00"),
)

CAFE = (
    ("Fish soup x 2", "11.80"),
    ("Rye bread", "2.40"),
    ("Pot of tea", "4.40"),
)

VISITORS = (
    ("Apr", 640),
    ("May", 1180),
    ("June", 1960),
    ("July", 3120),
    ("Aug", 3410),
    ("Sep", 1540),
    ("Oct", 720),
)

REPORT_TITLE = "Restoring the light of Skerrin Head"
FIGURE_CAPTION = "Figure 1. Cross-section of the tower after the works, with heights above ground."

REPORT: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("title", REPORT_TITLE),
        ("small", "Report of the Skerrin Lights Trust on the works of 2021 to 2023"),
        ("heading", "1. Why the works were needed"),
        (
            "text",
            "In the storm of 11 February 2020 the sea broke over the gallery for the first time"
            " since the tower was built. Water ran behind the lining of the lantern, froze, and"
            " cracked the lens. An inspection in May 2020 found rust in the iron stair and damp in"
            " the walls of the watch room.",
        ),
        (
            "text",
            "The trust decided to repair the lens rather than to replace it. It is a lens of the"
            " second order, made in 1870, and one of four of its kind that still turn.",
        ),
        ("heading", "2. What was done to the lens"),
        (
            "text",
            "The lens has 336 prisms. Of these, 27 were cracked and were ground again from new"
            " glass by the workshop of Odile Marchetti. Each prism was cleaned with distilled"
            " water and set in fresh putty, which took three weeks to harden.",
        ),
        (
            "text",
            "The bath of mercury on which the lens used to float was taken out. The lens now runs"
            " on a ring of 48 ceramic balls, and a motor of 90 watts turns it.",
        ),
        ("heading", "3. The lamp"),
        (
            "text",
            "The old bulb used 1,000 watts and lasted 2,000 hours. The new lamp uses 62 watts and"
            " should last eleven years. Its colour is warm white, so that the light looks as it"
            " did before.",
        ),
    ),
    (
        ("heading", "4. The tower"),
        (
            "text",
            "The granite was sound. The old cement was raked out and the joints were filled with"
            " lime, which lets the wall dry. All 163 steps of the iron stair were taken down,"
            " galvanised and hung again, and the three red bands were painted with a paint that"
            " lets vapour through.",
        ),
        ("figure", FIGURE_CAPTION),
        (
            "text",
            "Figure 1 shows the rooms of the tower from the oil store to the lantern. The watch"
            " room was lined with larch, and a heater of 400 watts keeps it dry in winter.",
        ),
    ),
    (
        ("heading", "5. What it cost"),
        (
            "text",
            "The works cost 286,400 euros in all. The lens took 118,000 euros, the tower 131,400"
            " euros, the lamp and the motor 22,000 euros, and the boat that carried everything"
            " 15,000 euros. Islanders gave 41,700 euros of this, most of it at harvest suppers.",
        ),
        ("heading", "6. Looking after the light"),
        (
            "text",
            "The light was lit again on 2 September 2023. The lens is cleaned on the first Monday"
            " of every month. The ceramic balls are to be replaced after ten years, and the"
            " paint after seven.",
        ),
        (
            "text",
            "If the lamp fails, a second lamp takes over within 30 seconds and a message goes to"
            " the harbour office. If both fail, the harbour master must tell the coast station on"
            " channel 16 at once and hang a white lantern at the gallery.",
        ),
        ("small", "Hanne Brekke, engineer to the trust, November 2023"),
    ),
)

QUESTIONS: tuple[dict[str, str | int | bool | None], ...] = (
    {
        "text": "When is the museum open in winter?",
        "expect": "11:00 to 15:00",
        "source": "skerrin-guide.md",
    },
    {
        "text": "How long is the Guillemot?",
        "expect": "14.8",
        "source": "boats.csv",
    },
    {
        "text": "How much did the works on the lighthouse cost in all?",
        "expect": "286,400",
        "source": "lighthouse-report.pdf",
        "page": 3,
    },
    {
        "text": "Which receipt is over 50?",
        "expect": "73.40",
        "source": "receipt-chandlery.png",
    },
    {
        "text": "What is this?",
        "picture": "query-1.jpg",
        "expect": "puffin",
        "source": "puffin.webp",
    },
    {
        "text": "How tall is this?",
        "picture": "query-2.jpg",
        "expect": "34 metres",
        "source": "skerrin-guide.md",
        "follows": True,
    },
    {
        "text": "How long is the boat in this picture?",
        "picture": "query-3.jpg",
        "expect": "11.4",
        "source": "boats.csv",
        "follows": True,
    },
    {
        "text": "Who owns the boat in the third picture?",
        "expect": "Ingrid Sollund",
        "source": "boats.csv",
        "follows": True,
    },
)
