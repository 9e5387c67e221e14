"""The invented plant of the demo data: its systems, its machines and their defects.

A defect has its usual (availability, fiability, process safety) scores on the scale from 1 to 5, before the
machine's importance, the severity and noise change them.
"""

from __future__ import annotations

from typing import NamedTuple


class DefectType(NamedTuple):
    """A kind of defect, as French and as English operators write it."""

    french: str
    english: str
    availability: float
    fiability: float
    process_safety: float


class PlantMachine(NamedTuple):
    """One piece of equipment; ``importance`` is 0 (has a spare), 1, or 2 (stops the plant)."""

    name: str
    kind: str
    system: str
    importance: int


SECTIONS = {
    "Manutention combustible": "CMB",
    "Broyage": "CMB",
    "Air et fumées": "MEC",
    "Chaudière": "CHD",
    "Eau alimentaire": "MEC",
    "Vapeur": "CHD",
    "Turbine": "TUR",
    "Alternateur": "ELE",
    "Condensat": "TUR",
    "Eau de circulation": "MEC",
    "Cendres": "CHD",
    "Air comprimé": "UTL",
    "Traitement d'eau": "UTL",
    "Évacuation d'énergie": "ELE",
    "Protection incendie": "UTL",
}

DEFECTS = {
    "pump": (
        DefectType(
            "Fuite d'eau à la garniture mécanique {place}",
            "Mechanical seal leaking water {place}",
            1.6,
            1.2,
            1.3,
        ),
        DefectType(
            "Vibration élevée au palier {place}", "High vibration on the bearing {place}", 2.6, 1.9, 1.2
        ),
        DefectType(
            "Température palier en hausse {place}", "Bearing temperature rising {place}", 2.3, 1.6, 1.3
        ),
        DefectType("Débit insuffisant au refoulement", "Low discharge flow", 2.8, 1.4, 1.1),
        DefectType("Déclenchement du moteur sur surintensité", "Motor tripped on overcurrent", 3.9, 2.4, 1.6),
        DefectType(
            "Presse-étoupe à resserrer {place}", "Gland packing needs tightening {place}", 0.6, 0.7, 0.6
        ),
        DefectType(
            "Peinture écaillée sur le corps de pompe", "Paint flaking off the pump casing", 0.2, 0.5, 0.4
        ),
    ),
    "fan": (
        DefectType("Vibration du ventilateur {place}", "Fan vibration {place}", 2.7, 1.7, 1.3),
        DefectType(
            "Fuite d'air à la manchette de raccordement", "Air leak at the expansion joint", 1.3, 0.9, 1.2
        ),
        DefectType(
            "Aubage encrassé, équilibrage à prévoir", "Fouled blades, balancing needed", 2.2, 1.3, 0.8
        ),
        DefectType("Ventelle bloquée en position intermédiaire", "Inlet vane stuck half open", 3.2, 1.8, 1.5),
        DefectType(
            "Bruit anormal au palier {place}", "Unusual noise from the bearing {place}", 1.9, 1.5, 1.0
        ),
        DefectType(
            "Niveau d'huile bas dans le palier {place}",
            "Low oil level in the bearing {place}",
            0.8,
            0.8,
            0.7,
        ),
    ),
    "mill": (
        DefectType("Fuite de combustible pulvérisé {place}", "Pulverised fuel leak {place}", 2.1, 1.2, 4.0),
        DefectType("Bourrage du broyeur, débit réduit", "Mill choked, throughput reduced", 3.1, 1.5, 2.0),
        DefectType("Galet de broyage usé", "Grinding roller worn", 2.0, 1.9, 0.8),
        DefectType(
            "Température de sortie trop haute, risque de feu",
            "Outlet temperature too high, risk of fire",
            2.9,
            1.4,
            4.8,
        ),
        DefectType("Fuite d'huile au réducteur", "Oil leak at the gearbox", 1.4, 1.2, 1.4),
        DefectType(
            "Tôle de carter à ressouder {place}", "Casing plate to be welded again {place}", 0.8, 0.9, 1.2
        ),
    ),
    "boiler": (
        DefectType("Fuite tube suspectée {place}", "Suspected tube leak {place}", 4.4, 3.0, 3.6),
        DefectType(
            "Fuite de fumées par la porte de visite {place}",
            "Flue gas leaking through the manhole {place}",
            1.2,
            0.9,
            2.6,
        ),
        DefectType("Calorifuge manquant {place}", "Insulation missing {place}", 0.3, 0.5, 2.0),
        DefectType("Ramoneur bloqué {place}", "Soot blower stuck {place}", 1.8, 1.2, 1.0),
        DefectType(
            "Point chaud visible sur l'enveloppe {place}", "Hot spot on the casing {place}", 2.3, 1.7, 2.9
        ),
        DefectType("Soupape de sûreté non étanche", "Safety valve passing", 2.4, 1.4, 4.1),
    ),
    "conveyor": (
        DefectType("Déport de bande {place}", "Belt running off centre {place}", 1.9, 1.0, 1.3),
        DefectType("Rouleau bloqué et échauffé {place}", "Seized hot idler {place}", 1.3, 0.9, 3.4),
        DefectType(
            "Bande déchirée sur environ {number} cm", "Belt torn over about {number} cm", 3.4, 2.1, 1.9
        ),
        DefectType("Câble d'arrêt d'urgence détendu", "Emergency pull cord slack", 1.0, 0.9, 4.4),
        DefectType(
            "Racleur usé, combustible collé sur la bande",
            "Scraper worn, fuel sticking to the belt",
            0.8,
            0.7,
            0.9,
        ),
        DefectType("Garde-corps manquant {place}", "Guard rail missing {place}", 0.2, 0.4, 4.2),
    ),
    "valve": (
        DefectType("Vanne non étanche {place}", "Valve passing {place}", 1.6, 1.1, 1.2),
        DefectType(
            "Fuite vapeur par tresse {place}", "Steam leaking from the packing {place}", 1.7, 1.2, 2.9
        ),
        DefectType(
            "Servomoteur ne répond pas à la commande",
            "Actuator does not follow the command",
            3.0,
            1.9,
            1.9,
        ),
        DefectType("Recopie de position fausse", "Wrong position feedback", 1.5, 1.1, 1.2),
        DefectType("Volant de manœuvre cassé", "Broken hand wheel", 0.6, 0.7, 0.9),
        DefectType("Calorifuge à remettre en état", "Lagging to be put back", 0.2, 0.4, 0.9),
    ),
    "transformer": (
        DefectType("Fuite d'huile au joint {place}", "Oil leaking from the gasket {place}", 1.7, 1.4, 2.3),
        DefectType("Température d'huile élevée", "High oil temperature", 2.8, 1.9, 2.6),
        DefectType("Alarme Buchholz apparue", "Buchholz alarm came up", 4.1, 2.9, 4.4),
        DefectType("Silicagel saturé", "Silica gel saturated", 0.5, 0.8, 0.5),
        DefectType("Ventilateur de refroidissement à l'arrêt", "Cooling fan stopped", 1.4, 1.1, 1.1),
    ),
    "generator": (
        DefectType("Fuite d'huile d'étanchéité {place}", "Seal oil leak {place}", 3.0, 2.0, 3.8),
        DefectType("Balais à remplacer", "Brushes to be replaced", 0.9, 0.9, 0.6),
        DefectType(
            "Température stator voie {number} anormale",
            "Stator temperature channel {number} abnormal",
            2.2,
            1.5,
            1.4,
        ),
        DefectType("Vibration palier {place}", "Bearing vibration {place}", 3.6, 2.4, 1.9),
        DefectType("Défaut terre rotor intermittent", "Intermittent rotor earth fault", 3.9, 2.8, 2.8),
    ),
    "compressor": (
        DefectType(
            "Fuite d'air comprimé sur le collecteur", "Compressed air leak on the header", 0.8, 0.7, 0.8
        ),
        DefectType("Purgeur automatique bloqué", "Automatic drain stuck", 0.9, 0.9, 0.6),
        DefectType("Arrêt sur température d'air haute", "Tripped on high air temperature", 2.7, 1.6, 1.1),
        DefectType("Filtre d'aspiration colmaté", "Suction filter clogged", 0.7, 0.8, 0.4),
        DefectType("Courroie usée", "Worn drive belt", 1.1, 1.1, 0.7),
    ),
    "instrument": (
        DefectType("Transmetteur de niveau figé", "Level transmitter frozen", 1.9, 1.4, 2.3),
        DefectType("Mesure de pression incohérente", "Pressure reading makes no sense", 1.4, 1.1, 1.4),
        DefectType("Détecteur de fumée en défaut", "Smoke detector faulty", 0.5, 0.8, 4.3),
        DefectType("Câble de mesure abîmé {place}", "Measuring cable damaged {place}", 1.0, 1.0, 1.1),
        DefectType("Étiquette de repérage absente", "Tag plate missing", 0.1, 0.3, 0.5),
    ),
}

MACHINES = (
    PlantMachine("Pompe alimentaire A", "pump", "Eau alimentaire", 1),
    PlantMachine("Pompe alimentaire B", "pump", "Eau alimentaire", 1),
    PlantMachine("Pompe alimentaire de secours", "pump", "Eau alimentaire", 0),
    PlantMachine("Pompe d'extraction 1", "pump", "Condensat", 1),
    PlantMachine("Pompe d'extraction 2", "pump", "Condensat", 0),
    PlantMachine("Pompe de circulation nord", "pump", "Eau de circulation", 2),
    PlantMachine("Pompe de circulation sud", "pump", "Eau de circulation", 2),
    PlantMachine("Pompe de lavage filtres", "pump", "Eau de circulation", 0),
    PlantMachine("Pompe de graissage turbine", "pump", "Turbine", 2),
    PlantMachine("Pompe de soulèvement", "pump", "Turbine", 1),
    PlantMachine("Pompe doseuse ammoniaque", "pump", "Traitement d'eau", 0),
    PlantMachine("Pompe incendie diesel", "pump", "Protection incendie", 1),
    PlantMachine("Pompe incendie électrique", "pump", "Protection incendie", 0),
    PlantMachine("Ventilateur de soufflage A", "fan", "Air et fumées", 1),
    PlantMachine("Ventilateur de soufflage B", "fan", "Air et fumées", 1),
    PlantMachine("Ventilateur de tirage A", "fan", "Air et fumées", 2),
    PlantMachine("Ventilateur de tirage B", "fan", "Air et fumées", 2),
    PlantMachine("Ventilateur air primaire", "fan", "Broyage", 1),
    PlantMachine("Ventilateur d'étanchéité", "fan", "Broyage", 0),
    PlantMachine("Broyeur 1", "mill", "Broyage", 1),
    PlantMachine("Broyeur 2", "mill", "Broyage", 1),
    PlantMachine("Broyeur 3", "mill", "Broyage", 0),
    PlantMachine("Concasseur primaire", "mill", "Manutention combustible", 1),
    PlantMachine("Convoyeur C10", "conveyor", "Manutention combustible", 1),
    PlantMachine("Convoyeur C11", "conveyor", "Manutention combustible", 1),
    PlantMachine("Convoyeur C20 vers trémies", "conveyor", "Manutention combustible", 2),
    PlantMachine("Extracteur à raclettes", "conveyor", "Cendres", 2),
    PlantMachine("Vis à cendres", "conveyor", "Cendres", 0),
    PlantMachine("Foyer et écrans", "boiler", "Chaudière", 2),
    PlantMachine("Surchauffeur basse température", "boiler", "Chaudière", 2),
    PlantMachine("Économiseur", "boiler", "Chaudière", 2),
    PlantMachine("Réchauffeur d'air rotatif", "boiler", "Air et fumées", 1),
    PlantMachine("Ballon chaudière", "boiler", "Chaudière", 2),
    PlantMachine("Vanne vapeur principale", "valve", "Vapeur", 2),
    PlantMachine("Vanne de contournement HP", "valve", "Vapeur", 1),
    PlantMachine("Vanne de désurchauffe", "valve", "Vapeur", 1),
    PlantMachine("Vanne de purge collecteur", "valve", "Vapeur", 0),
    PlantMachine("Vanne réglante eau alimentaire", "valve", "Eau alimentaire", 2),
    PlantMachine("Vanne d'isolement pompe A", "valve", "Eau alimentaire", 0),
    PlantMachine("Clapet de soutirage 3", "valve", "Turbine", 1),
    PlantMachine("Vanne de régulation turbine", "valve", "Turbine", 2),
    PlantMachine("Vanne de vidange condenseur", "valve", "Condensat", 0),
    PlantMachine("Vanne papillon eau brute", "valve", "Traitement d'eau", 0),
    PlantMachine("Vanne déluge transformateur", "valve", "Protection incendie", 1),
    PlantMachine("Transformateur principal", "transformer", "Évacuation d'énergie", 2),
    PlantMachine("Transformateur de soutirage", "transformer", "Évacuation d'énergie", 1),
    PlantMachine("Transformateur auxiliaire 6 kV", "transformer", "Évacuation d'énergie", 0),
    PlantMachine("Alternateur", "generator", "Alternateur", 2),
    PlantMachine("Excitatrice", "generator", "Alternateur", 2),
    PlantMachine("Compresseur d'air 1", "compressor", "Air comprimé", 0),
    PlantMachine("Compresseur d'air 2", "compressor", "Air comprimé", 0),
    PlantMachine("Sécheur d'air", "compressor", "Air comprimé", 0),
    PlantMachine("Compresseur air instrument", "compressor", "Air comprimé", 1),
    PlantMachine("Niveau ballon", "instrument", "Chaudière", 2),
    PlantMachine("Niveau bâche alimentaire", "instrument", "Eau alimentaire", 1),
    PlantMachine("Pression foyer", "instrument", "Chaudière", 1),
    PlantMachine("Détection incendie galerie", "instrument", "Protection incendie", 0),
    PlantMachine("Analyseur de fumées", "instrument", "Air et fumées", 0),
    PlantMachine("Conductivité eau déminéralisée", "instrument", "Traitement d'eau", 0),
    PlantMachine("Pesage trémie cendres", "instrument", "Cendres", 0),
)

PLACES = (
    ("côté accouplement", "on the drive end"),
    ("côté libre", "on the free end"),
    ("au niveau +{number} m", "at level +{number} m"),
    ("côté nord", "on the north side"),
    ("près de l'échelle d'accès", "near the access ladder"),
    ("", ""),
)

SEVERITIES = (
    (-0.8, "légère évolution depuis hier", "slight change since yesterday"),
    (-0.8, "à surveiller", "to be watched"),
    (0.0, "", ""),
    (0.0, "constaté pendant la ronde", "found on the walk-round"),
    (0.0, "repéré par l'équipe de quart", "seen by the shift crew"),
    (0.9, "situation qui s'aggrave rapidement", "getting worse quickly"),
    (0.9, "intervention urgente demandée", "urgent repair requested"),
)

REMARKS = (
    ("", ""),
    ("", ""),
    ("Le joint avait été changé lors du dernier arrêt.", "The gasket was replaced in the last outage."),
    ("Prévoir un échafaudage pour l'accès.", "Scaffolding is needed for access."),
    ("Valeur relevée : {number} mm/s.", "Reading: {number} mm/s."),
    ("Température relevée : {number}0 °C.", "Temperature reading: {number}0 °C."),
    ("Même défaut signalé le mois dernier.", "Same defect reported last month."),
    ("Zone nettoyée et balisée.", "Area cleaned and taped off."),
    ("Pièce de rechange disponible au magasin.", "Spare part is in the store."),
)
