"""What pictures often show, in three languages: so that "das Foto mit dem Hund" finds "a dog".

A small table of colours, shapes, animals and things, not a dictionary. Captions come in the
language of whoever or whatever wrote them, questions in that of whoever asks. Knows nothing of
conversations.
"""

_SAME = """
red rot rote roten roter rotes rotem 红色 红
blue blau blaue blauen blauer blaues blauem 蓝色 蓝
green grün grüne grünen grüner grünes grünem 绿色 绿
yellow gelb gelbe gelben gelber gelbes gelbem 黄色 黄
orange orangefarben orangefarbene orangefarbenen 橙色 橙
purple violet lila violett violette violetten 紫色 紫
grey gray grau graue grauen grauer graues grauem 灰色 灰
black schwarz schwarze schwarzen schwarzer schwarzes schwarzem 黑色 黑
white weiß weiße weißen weißer weißes weißem 白色 白
brown braun braune braunen brauner braunes braunem 棕色 褐色
pink rosa pinke pinken 粉色 粉红色
circle circles disc kreis kreise kreises 圆形 圆圈 圆
square squares quadrat quadrate quadrates quadrats 正方形 方块 方形
triangle triangles dreieck dreiecke dreiecks 三角形 三角
star stars stern sterne sternen sterns 星星 星形 五角星
cross crosses kreuz kreuze kreuzes 十字
ring rings hoop ringe ringen 圆环 环
dog dogs puppy hund hunde hundes hunden 狗 犬 小狗
cat cats kitten katze katzen kater 猫 小猫
bird birds vogel vögel vogels vögeln 鸟
horse horses pferd pferde pferdes pferden 马
fish fishes fisch fische fisches fischen 鱼
car cars auto autos wagen 汽车 轿车 车
bicycle bicycles bike bikes fahrrad fahrräder fahrrads 自行车
boat boats ship ships boot boote bootes schiff schiffe schiffes 船
train trains zug züge zuges zügen 火车
plane planes airplane aeroplane flugzeug flugzeuge flugzeugs 飞机
house houses haus häuser hauses häusern 房子 房屋
door doors tür türen 门
bridge bridges brücke brücken 桥
tower towers turm türme turms türmen 塔
lighthouse lighthouses leuchtturm leuchttürme leuchtturms 灯塔
tree trees baum bäume baums baumes bäumen 树
flower flowers blume blumen 花
mountain mountains berg berge berges bergen 山
beach beaches strand strände strands strandes 海滩 沙滩
sea ocean meer meeres 海
snow schnee schnees 雪
garden gardens garten gärten gartens 花园
grass gras grases 草地 草
cake cakes kuchen torte torten 蛋糕
candle candles kerze kerzen 蜡烛
sofa couch sofas sofa 沙发
table tisch tische tisches 桌子
child children kid kids kind kinder kindern kindes 孩子 小孩 儿童
man men mann männer mannes männern 男人
woman women frau frauen 女人
person people mensch menschen leute leuten 人
team teams mannschaft 团队
bar bars balken säulen säule 柱状
pie kreis torten 饼
line lines linie linien 折线
sales umsatz umsätze verkauf verkäufe verkäufen verkaufszahlen 销售 销售额
rain rainfall regen niederschlag 降雨 雨
harbour harbor hafen hafens 港口
error fehler fehlermeldung 错误
"""

#: word -> names of what it means; a word of several meanings has several
THINGS: dict[str, frozenset[str]] = {}
for _line in _SAME.split("\n"):
    for _word in _line.split():
        THINGS[_word] = THINGS.get(_word, frozenset()) | {_line.split()[0]}

#: Chinese words, the longest first
HAN_THINGS = sorted((w for w in THINGS if w[0] >= "\u4e00"), key=len, reverse=True)
